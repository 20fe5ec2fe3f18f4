package privatefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf16"
)

var errEncoding = errors.New("is neither UTF-8 nor UTF-16 with a byte order mark; save it as UTF-8")

// UTF8 returns the content of a text file as UTF-8 without a byte order mark. Editors and shells of Windows write one, and
// PowerShell's redirection writes UTF-16.
func UTF8(content []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(content, []byte{0xEF, 0xBB, 0xBF}):
		content = content[3:]
	case bytes.HasPrefix(content, []byte{0xFF, 0xFE}):
		order = binary.LittleEndian
	case bytes.HasPrefix(content, []byte{0xFE, 0xFF}):
		order = binary.BigEndian
	}
	if order == nil {
		if bytes.IndexByte(content, 0) >= 0 {
			return nil, errEncoding
		}
		return content, nil
	}
	content = content[2:]
	if len(content)%2 != 0 {
		return nil, errEncoding
	}
	units := make([]uint16, len(content)/2)
	for i := range units {
		units[i] = order.Uint16(content[2*i:])
	}
	return []byte(string(utf16.Decode(units))), nil
}
