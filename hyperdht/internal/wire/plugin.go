package wire

import "github.com/dhtprom/dhtprom/hyperdht/compact"

const pluginFlagValue = 1

// PluginRequest is the value of CmdPlugin:
//
//	string plugin · uint version · uint command · uint flags (1 value) · [buffer value]
type PluginRequest struct {
	Plugin  string
	Version uint64
	Command uint64
	// Value is nil if absent; empty and not nil is present.
	Value []byte
}

// Size is the number of bytes Append appends.
func (m PluginRequest) Size() int {
	n := compact.BytesSize(len(m.Plugin)) + compact.UintSize(m.Version) + compact.UintSize(m.Command) + 1
	if m.Value != nil {
		n += compact.BytesSize(len(m.Value))
	}
	return n
}

// Append appends the encoded message.
func (m PluginRequest) Append(dst []byte) []byte {
	dst = compact.AppendString(dst, m.Plugin)
	dst = compact.AppendUint(dst, m.Version)
	dst = compact.AppendUint(dst, m.Command)
	dst = append(dst, flag(m.Value != nil, pluginFlagValue))
	if m.Value != nil {
		dst = compact.AppendBytes(dst, m.Value)
	}
	return dst
}

// ParsePluginRequest reads the value of a CmdPlugin.
func ParsePluginRequest(b []byte) (PluginRequest, error) {
	r := compact.NewReader(b)
	m := PluginRequest{Plugin: r.String(), Version: r.Uint(), Command: r.Uint()}
	if r.Uint()&pluginFlagValue != 0 {
		m.Value = r.Bytes()
	}
	if err := r.Err(); err != nil {
		return PluginRequest{}, err
	}
	return m, nil
}
