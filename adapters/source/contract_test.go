package source_test

import (
	"context"
	"errors"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func TestSourceKeepsTheContract(t *testing.T) {
	portstest.TestMetricsSource(t, func(*testing.T) portstest.SourceBench {
		l := make(loop, 64)
		return l.Bench(func(_ *testing.T, says portstest.SourceAnswer) ports.MetricsSource {
			return source.Func(l, func(ctx context.Context) (string, error) {
				switch {
				case says.Fails:
					return "", errors.New("no metrics")
				case says.Hangs:
					<-ctx.Done()
					return "", ctx.Err()
				}
				return string(says.Body), nil
			})
		})
	})
}
