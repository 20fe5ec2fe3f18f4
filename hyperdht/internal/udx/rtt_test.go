package udx

import (
	"testing"
	"time"
)

// How late answers may be on one path says nothing of another one.
func TestAnotherPathIsNotHeldForSlow(t *testing.T) {
	r := rttEstimator{unmeasured: 5 * time.Second}
	r.pathChanged(0)
	if r.unmeasured != 0 {
		t.Errorf("answers on the new path are held to take %v", r.unmeasured)
	}
}
