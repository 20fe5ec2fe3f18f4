// Package earlier builds the programs of the version before this one, for tests that this version works with it.
//
// Their sources come from the history of the repository, and the programs are kept in the user's cache, by commit. Where the history
// lacks the commit, as in a shallow clone, tests that need it are skipped visibly. Where DHTPROM_REQUIRE_INTEROP=1 or CI is set they fail
// instead, so that a green run proves what it should.
package earlier
