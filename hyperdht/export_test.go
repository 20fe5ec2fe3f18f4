package hyperdht

// WriteRaw sends bytes on the stream below the encryption, as a peer that keeps to no protocol may.
func (c *Connection) WriteRaw(b []byte) { c.raw.Write(b) }
