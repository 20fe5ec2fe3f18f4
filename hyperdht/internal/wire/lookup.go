package wire

import "github.com/dhtprom/dhtprom/hyperdht/compact"

// LookupReply is the answer to CmdLookup:
//
//	uint count · count peer records, one after the other without lengths · uint bump (0 if missing)
type LookupReply struct {
	Peers []Peer
	// Bump is the latest bump of the topic, in milliseconds of wall time since 1970; 0 for none.
	Bump uint64
}

// Size is the number of bytes Append appends.
func (m LookupReply) Size() int {
	n := compact.UintSize(uint64(len(m.Peers))) + compact.UintSize(m.Bump)
	for _, p := range m.Peers {
		n += p.Size()
	}
	return n
}

// Append appends the encoded reply.
func (m LookupReply) Append(dst []byte) []byte {
	dst = compact.AppendUint(dst, uint64(len(m.Peers)))
	for _, p := range m.Peers {
		dst = p.Append(dst)
	}
	return compact.AppendUint(dst, m.Bump)
}

// AppendLookupReply appends a reply of records that are encoded already, as nodes store them.
func AppendLookupReply(dst []byte, records [][]byte, bump uint64) []byte {
	dst = compact.AppendUint(dst, uint64(len(records)))
	for _, record := range records {
		dst = append(dst, record...)
	}
	return compact.AppendUint(dst, bump)
}

// ParseLookupReply reads the answer to a CmdLookup.
func ParseLookupReply(b []byte) (LookupReply, error) {
	r := compact.NewReader(b)
	m := LookupReply{Peers: make([]Peer, r.Count(minPeerSize, compact.MaxArray))}
	for i := range m.Peers {
		m.Peers[i] = readPeer(&r)
	}
	if r.Len() > 0 {
		m.Bump = r.Uint()
	}
	if err := r.Err(); err != nil {
		return LookupReply{}, err
	}
	return m, nil
}
