// Package process runs programs in tests: ours, built once, and those of others, such as Prometheus.
//
// A process ends with its test. What a test waits for is looked at again and again until it is so, within a bound, and
// the failure says what stood in the way last.
//
// Tests that Need a program that is not installed are skipped, and say so. Where DHTPROM_REQUIRE_INTEROP=1 or CI is set
// they fail instead: nobody should take a green run for a proof that was not given.
package process
