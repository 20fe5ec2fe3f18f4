package dhtnet

// Unsent returns the memory of what the peer has not acknowledged. It is called on the loop.
func Unsent(c *Conn) int { return c.conn.Unsent() }

// Flushes returns the number of flushes that wait for the connection to take bytes. It is called on the loop.
func Flushes(c *Conn) int { return len(c.flushes.waiting) }

// Destroy ends the connection. It is called on the loop.
func Destroy(c *Conn, err error) { c.conn.Destroy(err) }

// Passed returns the number of bytes that the connection has taken, and whether there are more. It is called on the loop.
func Passed(c *Conn) (bytes uint64, left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushes.passed, len(c.out) > 0
}
