// Package scrape turns scrapes into whole pages and back: Collect makes a page of a response, and Send a response of a page.
package scrape
