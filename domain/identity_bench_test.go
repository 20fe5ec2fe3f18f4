package domain_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
)

// BenchmarkWrongSecret measures what a registration with a wrong secret costs, by the number of secrets.
func BenchmarkWrongSecret(b *testing.B) {
	for _, n := range []int{1, 4096, 65536} {
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			var named []domain.Identity
			for i := range n {
				var secret [32]byte
				binary.BigEndian.PutUint64(secret[:], uint64(i+1))
				if at := i % domain.MaxIdentities; at < len(named) {
					named[at].Secrets = append(named[at].Secrets, domain.SecretFrom(secret))
				} else {
					named = append(named, domain.Identity{Name: fmt.Sprintf("i%d", i), Secrets: []domain.Secret{domain.SecretFrom(secret)}})
				}
			}
			all, err := domain.NewIdentities(nil, named)
			if err != nil {
				b.Fatal(err)
			}
			wrong := domain.SecretFrom([32]byte{31: 1})
			for b.Loop() {
				if _, ok := all.Find(wrong); ok {
					b.Fatal("a wrong secret is of an identity")
				}
			}
		})
	}
}
