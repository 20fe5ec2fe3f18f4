package compact_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/spec/vectors"
)

// codec joins the two directions of one encoding over the JSON form of its values.
type codec struct {
	append func(t *testing.T, value json.RawMessage) []byte
	// read returns what JSON of the decoded value should look like.
	read func(r *compact.Reader) any
}

func uintCodec(app func([]byte, uint64) []byte, read func(*compact.Reader) uint64) codec {
	return codec{
		append: func(t *testing.T, v json.RawMessage) []byte { return app(nil, value[uint64](t, v)) },
		read:   func(r *compact.Reader) any { return read(r) },
	}
}

func value[T any](t *testing.T, text json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func bytesCodec(app func([]byte, []byte) []byte, read func(*compact.Reader) []byte) codec {
	return codec{
		append: func(t *testing.T, v json.RawMessage) []byte { return app(nil, value[vectors.Hex](t, v)) },
		read: func(r *compact.Reader) any {
			if b := read(r); b != nil {
				return vectors.Hex(b).String()
			}
			return nil
		},
	}
}

func raw(dst, b []byte) []byte { return append(dst, b...) }

func addrJSON(a netip.AddrPort) any {
	return map[string]any{"family": 4, "host": a.Addr().String(), "port": a.Port()}
}

var codecs = map[string]codec{
	"uint": uintCodec(compact.AppendUint, (*compact.Reader).Uint),
	"uint8": uintCodec(func(d []byte, v uint64) []byte { return compact.AppendUint8(d, uint8(v)) },
		func(r *compact.Reader) uint64 { return uint64(r.Uint8()) }),
	"uint16": uintCodec(func(d []byte, v uint64) []byte { return compact.AppendUint16(d, uint16(v)) },
		func(r *compact.Reader) uint64 { return uint64(r.Uint16()) }),
	"uint24": uintCodec(func(d []byte, v uint64) []byte { return compact.AppendUint24(d, uint32(v)) },
		func(r *compact.Reader) uint64 { return uint64(r.Uint24()) }),
	"uint32": uintCodec(func(d []byte, v uint64) []byte { return compact.AppendUint32(d, uint32(v)) },
		func(r *compact.Reader) uint64 { return uint64(r.Uint32()) }),
	"uint64": uintCodec(compact.AppendUint64, (*compact.Reader).Uint64),
	"int": {
		append: func(t *testing.T, v json.RawMessage) []byte { return compact.AppendInt(nil, value[int64](t, v)) },
		read:   func(r *compact.Reader) any { return r.Int() },
	},
	"bool": {
		append: func(t *testing.T, v json.RawMessage) []byte { return compact.AppendBool(nil, value[bool](t, v)) },
		read:   func(r *compact.Reader) any { return r.Bool() },
	},
	"string": {
		append: func(t *testing.T, v json.RawMessage) []byte { return compact.AppendString(nil, value[string](t, v)) },
		read:   func(r *compact.Reader) any { return r.String() },
	},
	"buffer":         bytesCodec(compact.AppendBytes, (*compact.Reader).Bytes),
	"optionalBuffer": bytesCodec(compact.AppendBytes, (*compact.Reader).OptionalBytes),
	"raw":            bytesCodec(raw, (*compact.Reader).Rest),
	"fixed32":        bytesCodec(raw, func(r *compact.Reader) []byte { return r.Fixed(32) }),
	"fixed64":        bytesCodec(raw, func(r *compact.Reader) []byte { return r.Fixed(64) }),
	"array(uint)": {
		append: func(t *testing.T, v json.RawMessage) []byte {
			list := value[[]uint64](t, v)
			b := compact.AppendUint(nil, uint64(len(list)))
			for _, n := range list {
				b = compact.AppendUint(b, n)
			}
			return b
		},
		read: func(r *compact.Reader) any {
			list := make([]uint64, r.Count(1, compact.MaxArray))
			for i := range list {
				list[i] = r.Uint()
			}
			return list
		},
	},
	"array(fixed32)": {
		append: func(t *testing.T, v json.RawMessage) []byte {
			list := value[[]vectors.Hex](t, v)
			b := compact.AppendUint(nil, uint64(len(list)))
			for _, k := range list {
				b = append(b, k...)
			}
			return b
		},
		read: func(r *compact.Reader) any {
			list := make([]string, r.Count(32, compact.MaxArray))
			for i := range list {
				k := r.Key()
				list[i] = vectors.Hex(k[:]).String()
			}
			return list
		},
	},
	"frame(string)": {
		append: func(t *testing.T, v json.RawMessage) []byte {
			return compact.AppendBytes(nil, compact.AppendString(nil, value[string](t, v)))
		},
		read: func(r *compact.Reader) any {
			frame := compact.NewReader(r.Bytes())
			return frame.String()
		},
	},
	"ipv4Address": {
		append: func(t *testing.T, v json.RawMessage) []byte {
			return compact.AppendAddr(nil, value[vectors.Addr](t, v).AddrPort)
		},
		read: func(r *compact.Reader) any { return addrJSON(r.Addr()) },
	},
	"array(ipv4Address)": {
		append: func(t *testing.T, v json.RawMessage) []byte {
			return compact.AppendAddrs(nil, vectors.AddrPorts(value[[]vectors.Addr](t, v)))
		},
		read: func(r *compact.Reader) any {
			list := []any{}
			for _, a := range r.Addrs(compact.MaxArray) {
				list = append(list, addrJSON(a))
			}
			return list
		},
	},
	"ipv6Address": {
		append: func(t *testing.T, v json.RawMessage) []byte {
			return compact.AppendAddr6(nil, value[vectors.Addr](t, v).AddrPort)
		},
		read: func(r *compact.Reader) any {
			a := r.Addr6()
			return map[string]any{"host": a.Addr().String(), "port": a.Port()}
		},
	},
}

type edgeCase struct {
	Type, Note string
	Hex        vectors.Hex
	Result     json.RawMessage
	Error      *string
}

type file struct {
	Groups []struct {
		Type    string
		Vectors []struct {
			Value json.RawMessage
			Hex   vectors.Hex
		}
	}
	DecodeEdgeCases []edgeCase
}

func TestEncodingsMatchVectorsBothWays(t *testing.T) {
	for _, g := range vectors.Load[file](t, "compact-encoding").Groups {
		t.Run(g.Type, func(t *testing.T) {
			c, ok := codecs[g.Type]
			if !ok {
				t.Fatalf("no codec for %s", g.Type)
			}
			for _, v := range g.Vectors {
				if got := c.append(t, v.Value); !bytes.Equal(got, v.Hex) {
					t.Errorf("append %s = %x, want %s", v.Value, got, v.Hex)
				}
				r := compact.NewReader(v.Hex)
				got := c.read(&r)
				if r.Err() != nil || r.Len() != 0 {
					t.Errorf("read %s: %v, %d bytes left", v.Hex, r.Err(), r.Len())
				}
				if !strings.HasPrefix(g.Type, "ipv6") {
					sameJSON(t, got, v.Value)
				}
			}
		})
	}
}

func sameJSON(t *testing.T, got any, want json.RawMessage) {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := json.Marshal(value[any](t, want))
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(value[any](t, text))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, canonical) {
		t.Errorf("read %s, want %s", again, canonical)
	}
}

func TestIPv6ReadsWhatItWrote(t *testing.T) {
	want := netip.MustParseAddrPort("[2001:db8::1]:49737")
	r := compact.NewReader(compact.AppendAddr6s(nil, []netip.AddrPort{want}))
	if got := r.Addr6s(1); len(got) != 1 || got[0] != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDecodeEdgeCases(t *testing.T) {
	for _, e := range vectors.Load[file](t, "compact-encoding").DecodeEdgeCases {
		t.Run(e.Type+" "+e.Note, func(t *testing.T) {
			typ, _, _ := strings.Cut(e.Type, " ")
			r := compact.NewReader(e.Hex)
			got := codecs[typ].read(&r)
			if (e.Error != nil) != (r.Err() != nil) {
				t.Fatalf("error %v, want %v", r.Err(), e.Error)
			}
			if e.Error == nil {
				sameJSON(t, got, e.Result)
			}
		})
	}
}

func TestErrorsTellWhy(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		read func(*compact.Reader)
		want error
	}{
		{"number above 2^53-1", []byte{0xff, 0, 0, 0, 0, 0, 0, 0x20, 0}, func(r *compact.Reader) { r.Uint() }, compact.ErrRange},
		{"array above the package's limit", []byte{0xfe, 1, 0, 0x10, 0}, func(r *compact.Reader) { r.Addrs(1 << 30) }, compact.ErrTooLong},
		{"array above the caller's limit", []byte{2, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}, func(r *compact.Reader) { r.Addrs(1) }, compact.ErrTooLong},
		{"array longer than the input", []byte{0xfe, 0, 0, 0x10, 0, 1}, func(r *compact.Reader) { r.Addrs(compact.MaxArray) }, compact.ErrShort},
		{"length near 2^53", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0, 1}, func(r *compact.Reader) { r.Bytes() }, compact.ErrShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := compact.NewReader(c.in)
			c.read(&r)
			if !errors.Is(r.Err(), c.want) {
				t.Errorf("got %v, want %v", r.Err(), c.want)
			}
		})
	}
}

func TestFirstErrorStays(t *testing.T) {
	r := compact.NewReader([]byte{0xff, 0, 0, 0, 0, 0, 0, 0x20, 0, 7})
	r.Uint()
	if r.Uint8() != 0 || r.Bytes() != nil || r.Rest() != nil || r.Len() != 0 {
		t.Error("the reader went on after an error")
	}
	if r.Err() != compact.ErrRange {
		t.Errorf("got %v, want the first error", r.Err())
	}
}

func TestForeignAddressFamiliesAreWrittenAsUnspecified(t *testing.T) {
	for _, c := range []struct{ name, addr, want string }{
		{"mapped IPv4 is IPv4", "[::ffff:10.0.0.1]:256", "\x0a\x00\x00\x01\x00\x01"},
		{"IPv6 has no place", "[2001:db8::1]:80", "\x00\x00\x00\x00\x00\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := compact.AppendAddr(nil, netip.MustParseAddrPort(c.addr)); string(got) != c.want {
				t.Errorf("got %x, want %x", got, c.want)
			}
		})
	}
}

func TestSizesAreWhatIsAppended(t *testing.T) {
	for _, v := range []uint64{0, 0xfc, 0xfd, 0xffff, 0x10000, 0xffffffff, 0x100000000, compact.MaxUint} {
		if n := len(compact.AppendUint(nil, v)); n != compact.UintSize(v) {
			t.Errorf("UintSize(%d) = %d, appended %d", v, compact.UintSize(v), n)
		}
		if i := int64(v >> 1); len(compact.AppendInt(nil, -i)) != compact.IntSize(-i) {
			t.Errorf("IntSize(%d) is wrong", -i)
		}
	}
	if compact.BytesSize(300) != len(compact.AppendBytes(nil, make([]byte, 300))) ||
		compact.AddrsSize(300) != len(compact.AppendAddrs(nil, make([]netip.AddrPort, 300))) ||
		compact.Addr6sSize(2) != 1+2*compact.Addr6Size {
		t.Error("a size function is wrong")
	}
}

func TestUnencodableNumberPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a number above MaxUint was encoded")
		}
	}()
	compact.AppendUint(nil, compact.MaxUint+1)
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, []byte("\x03abc\xfd\x01\x00\x01\x0a\x00\x00\x01\x49\xc2"))
	f.Add([]byte{7, 7, 8}, []byte("\xfe\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, program, in []byte) {
		cost.Repeat(t, func() {
			work := cost.Start(t, cost.Bound{StepsPerByte: 64, Steps: 200, BytesPerByte: 64, Bytes: 32 << 10})
			defer work.Stop()
			work.Allow(len(program) + len(in))
			r := compact.NewReader(in)
			for _, op := range program {
				before := r.Len()
				switch op % 14 {
				case 0:
					if v := r.Uint(); v > compact.MaxUint {
						t.Fatalf("read %d", v)
					}
				case 1:
					r.Uint8()
				case 2:
					r.Uint16()
				case 3:
					r.Uint24()
				case 4:
					r.Uint32()
				case 5:
					r.Uint64()
				case 6:
					compact.AppendInt(nil, r.Int())
				case 7:
					r.Bytes()
				case 8:
					r.Addrs(compact.MaxArray)
				case 9:
					r.Addr6s(compact.MaxArray)
				case 10:
					r.Key()
				case 11:
					_ = r.String()
				case 12:
					r.Bool()
				case 13:
					r.Rest()
				}
				if r.Len() > before {
					t.Fatal("the reader went backwards")
				}
			}
		})
	})
}

func TestShortIPv6AddressIsAnError(t *testing.T) {
	r := compact.NewReader(make([]byte, compact.Addr6Size-1))
	if a := r.Addr6(); a.IsValid() || r.Err() == nil {
		t.Errorf("read %v, error %v", a, r.Err())
	}
}
