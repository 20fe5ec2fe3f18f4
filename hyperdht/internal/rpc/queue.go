package rpc

// queue is the calls that wait for room in the window: those that follow from an answer, and those that begin something,
// each the oldest first.
type queue struct {
	following, beginning []*Call
}

func (q *queue) len() int    { return len(q.following) + len(q.beginning) }
func (q *queue) empty() bool { return q.len() == 0 }

func (q *queue) add(c *Call) {
	if c.follows {
		q.following = append(q.following, c)
	} else {
		q.beginning = append(q.beginning, c)
	}
}

// next removes the first call of a queue that is not empty. It may have ended meanwhile.
func (q *queue) next() *Call {
	list := &q.following
	if len(*list) == 0 {
		list = &q.beginning
	}
	c := (*list)[0]
	(*list)[0] = nil
	if *list = (*list)[1:]; len(*list) == 0 {
		*list = nil // what a busy time needed is not kept for good
	}
	return c
}
