// Package docs runs the commands of the documentation.
//
// Every block of shell, YAML and Go code in docs/ and in the README has a comment in front that names its test action. A
// page is run from top to bottom in a folder of its own, with the programs in the PATH, on a private DHT without mention of
// it in the page, and with free ports:
//
//	<!-- run -->                 to its end; it must succeed
//	<!-- run until: regexp -->   repeatedly, until it succeeds and its output matches
//	<!-- start NAME: regexp -->  in the background, and wait until its output matches
//	<!-- file: path -->          write it to this file
//	<!-- same as: path -->       must equal this file of the repository, except for comments; write it to the folder
//	<!-- not run: why -->        nothing
//
// Four comments stand alone: setup prepares machines that the page does not mention, background starts something on them,
// stop stops what was started, and wait waits until a command succeeds.
//
//	<!-- setup: command -->
//	<!-- background: command -->
//	<!-- wait: command -->
//	<!-- stop NAME -->
package docs
