package records

// Sizes reports how much is held of each kind, and how much that may be at most: two generations.
func (s *Store) Sizes(tell func(what string, held, most int)) {
	st := s.Stats()
	entries, values := s.bumps.limits.entries, s.mutables.limits.entries
	tell("announced servers", st.Entries, 2*entries)
	tell("records of topics", st.Topics, 2*entries)
	tell("bumps", st.Bumps, 2*entries)
	tell("refreshes", st.Refreshes, 2*entries)
	tell("mutable values", st.Mutables, 2*values)
	tell("immutable values", st.Immutables, 2*values)
}
