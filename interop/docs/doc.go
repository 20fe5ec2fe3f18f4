// Package docs runs what the documentation tells people to do.
//
// Every block of shell, YAML and Go code in docs/ and in the README has a comment in front that says what a test does
// with it. A page is run from top to bottom in a folder of its own, with the programs in the PATH, on a private DHT
// that nobody has to be told of, and with ports that are free:
//
//	<!-- run -->                 to its end, which must be good
//	<!-- run until: regexp -->   again and again, until it ends well and prints what matches
//	<!-- start NAME: regexp -->  in the background, and wait until it prints what matches
//	<!-- file: path -->          write it to this file
//	<!-- same as: path -->       it is what this file of the repository holds, comments aside; write it to the folder
//	<!-- not run: why -->        nothing
//
// Four comments stand alone: setup does what happens on machines that the page does not speak of, background what goes
// on there, stop ends what was started, and wait waits until a command ends well.
//
//	<!-- setup: command -->
//	<!-- background: command -->
//	<!-- wait: command -->
//	<!-- stop NAME -->
package docs
