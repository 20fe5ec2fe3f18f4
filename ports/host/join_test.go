package host_test

import (
	"testing"

	"github.com/dhtprom/dhtprom/ports/host"
)

func TestJoinEndsWithItsLastOperation(t *testing.T) {
	calls := 0
	join := host.NewJoin(func() { calls++ })
	first, second := join.Add(), join.Add()
	second()
	third := join.Add()
	third()
	if calls != 0 {
		t.Error("done runs while an operation is open")
	}
	first()
	if calls != 1 {
		t.Errorf("done ran %d times after the last operation", calls)
	}
}

func TestOperationThatEndsTwiceCountsOnce(t *testing.T) {
	calls := 0
	join := host.NewJoin(func() { calls++ })
	first, second := join.Add(), join.Add()
	first()
	first()
	if calls != 0 {
		t.Error("done runs while the second operation is open")
	}
	second()
	second()
	if calls != 1 {
		t.Errorf("done ran %d times", calls)
	}
}

func TestJoinHeldByItsCallerSurvivesOperationsThatEndAtOnce(t *testing.T) {
	calls := 0
	join := host.NewJoin(func() { calls++ })
	added := join.Add()
	for range 3 {
		join.Add()()
	}
	if calls != 0 {
		t.Error("done runs while operations are added")
	}
	added()
	if calls != 1 {
		t.Errorf("done ran %d times", calls)
	}
}
