// Package process runs programs in tests: those of this module, built once, and others, such as Prometheus.
//
// A process ends with its test. Conditions are polled until they hold, within a bound, and the failure quotes the last
// error.
//
// Tests that Need a program that is not installed are skipped visibly. Where DHTPROM_REQUIRE_INTEROP=1 or CI is set they
// fail instead, so that a green run proves what it should.
package process
