package domain

// GroupLead reports that this scraper leads its group.
type GroupLead struct{ Term int64 }

func (e GroupLead) LogRecord() LogRecord {
	return info("group-lead").unlimited().count("term", int(e.Term))
}

// GroupFollow reports that this scraper leads its group no more.
type GroupFollow struct{ Term int64 }

func (e GroupFollow) LogRecord() LogRecord {
	return info("group-follow").unlimited().count("term", int(e.Term))
}

// GroupLeader reports that another member leads the group. Name is empty if none does.
type GroupLeader struct {
	Name string
	Term int64
}

func (e GroupLeader) LogRecord() LogRecord {
	if e.Name == "" {
		return warn("group-leader").unlimited().text("leader", "none").
			text("effect", "registrations fail until a member leads, scrapes go on")
	}
	return info("group-leader").unlimited().text("leader", e.Name).count("term", int(e.Term))
}

// GroupMember reports a scraper that joined the group, or left it.
type GroupMember struct {
	Member Member
	Left   bool
}

func (e GroupMember) LogRecord() LogRecord {
	return info("group-member").unlimited().flag("left", e.Left).text("member", e.Member.Name).text("id", string(e.Member.ID)).text("url", e.Member.URL)
}

// GroupListenError reports that this scraper leads its group and cannot take registrations.
type GroupListenError struct{ Err error }

func (e GroupListenError) LogRecord() LogRecord {
	return failure("group-listen-error").unlimited().err(e.Err)
}

// GroupStore reports that the store of the group cannot be reached, or can be again.
type GroupStore struct{ Reachable bool }

func (e GroupStore) LogRecord() LogRecord {
	if e.Reachable {
		return info("group-store").unlimited().flag("reachable", e.Reachable)
	}
	return warn("group-store").unlimited().flag("reachable", e.Reachable).
		text("effect", "registrations fail, and the table stays as it is; scrapes go on").text("hint", "does etcd run, and can this machine reach it?")
}
