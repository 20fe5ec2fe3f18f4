package tool

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait for a browser.
const patience = 30 * time.Second

// Browser is a headless Chromium, driven over its DevTools protocol by a pipe.
type Browser struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *os.File // to the browser
	done chan struct{}

	mu    sync.Mutex
	last  int
	calls map[int]chan answer
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Page is a tab.
type Page struct {
	*Browser
	session, target string
}

// StartBrowser starts a browser that ends with the test. Where none is installed the test is skipped or fails, as
// Require does.
func StartBrowser(t testing.TB) *Browser {
	t.Helper()
	path := Require(t, "chromium", "chromium-browser", "google-chrome")
	toBrowser, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	in, fromBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "dhtprom-browser-")
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, out: out, done: make(chan struct{}), calls: map[int]chan answer{}}
	// A test may run as root, without a display, and without a network: all features that need more are off.
	b.cmd = exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+profile, "about:blank")
	b.cmd.ExtraFiles = []*os.File{toBrowser, fromBrowser}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = toBrowser.Close(), fromBrowser.Close()
	go b.read(in)
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		<-b.done
		_ = b.cmd.Wait()
		_, _ = out.Close(), in.Close()
		_ = os.RemoveAll(profile) // its children may still write there, so not t.TempDir
	})
	return b
}

func (b *Browser) read(in *os.File) {
	defer close(b.done)
	messages := bufio.NewReaderSize(in, 1<<20)
	for {
		text, err := messages.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID int `json:"id"`
			answer
		}
		if json.Unmarshal(text[:len(text)-1], &m) != nil || m.ID == 0 {
			continue // an event
		}
		b.mu.Lock()
		waiting := b.calls[m.ID]
		delete(b.calls, m.ID)
		b.mu.Unlock()
		if waiting != nil {
			waiting <- m.answer
		}
	}
}

func (b *Browser) call(session, method string, params, result any) {
	b.t.Helper()
	b.mu.Lock()
	b.last++
	id, waiting := b.last, make(chan answer, 1)
	b.calls[id] = waiting
	b.mu.Unlock()
	message := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		message["sessionId"] = session
	}
	text, err := json.Marshal(message)
	if err == nil {
		_, err = b.out.Write(append(text, 0))
	}
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case a := <-waiting:
		if a.Error != nil {
			b.t.Fatalf("%s: %s", method, a.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(a.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-b.done:
		b.t.Fatalf("%s: the browser has ended", method)
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer", method)
	}
}

type object = map[string]any

// Look is a browser's view of a page: its size in CSS pixels, colours, and whether scripts run.
type Look struct {
	Width, Height int
	Dark          bool
	NoScript      bool
}

// Open opens a page and waits until it is loaded.
func (b *Browser) Open(url string, look Look) *Page {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", object{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("", "Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &Page{b, attached.SessionID, target.TargetID}
	p.Do("Page.enable", object{}, nil)
	scheme := "light"
	if look.Dark {
		scheme = "dark"
	}
	p.Do("Emulation.setEmulatedMedia", object{"features": []object{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	p.Do("Emulation.setDeviceMetricsOverride", object{"width": look.Width, "height": look.Height, "deviceScaleFactor": 1, "mobile": look.Width < 600}, nil)
	p.Do("Emulation.setScriptExecutionDisabled", object{"value": look.NoScript}, nil)
	p.Do("Page.navigate", object{"url": url}, nil)
	p.Until(`location.href !== 'about:blank' && document.readyState === 'complete'`)
	return p
}

// Close closes the tab. Tabs that stay open end with the browser.
func (p *Page) Close() {
	p.t.Helper()
	p.call("", "Target.closeTarget", object{"targetId": p.target}, nil)
}

// Do calls a method of the DevTools protocol.
func (p *Page) Do(method string, params, result any) {
	p.t.Helper()
	p.call(p.session, method, params, result)
}

// Eval evaluates an expression, awaits it if it is a promise, and returns its value as text.
func (p *Page) Eval(expression string) string {
	p.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.Do("Runtime.evaluate", object{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if e := r.ExceptionDetails; e != nil {
		p.t.Fatalf("%s: %s %s", expression, e.Text, e.Exception.Description)
	}
	if r.Result.Value == nil {
		return ""
	}
	return fmt.Sprint(r.Result.Value)
}

// Until waits until an expression is true. Where scripts are off in the page, those of the protocol still run.
func (p *Page) Until(expression string) {
	p.t.Helper()
	end := time.Now().Add(patience)
	for p.Eval("Boolean("+expression+")") != "true" {
		if time.Now().After(end) {
			p.t.Fatalf("never: %s\n%s", expression, p.Eval("document.body.innerText"))
		}
	}
}

// Key presses a key, by its name in the DOM: Tab, Enter.
func (p *Page) Key(name string, code int) {
	p.t.Helper()
	text := ""
	if name == "Enter" {
		text = "\r"
	}
	p.Do("Input.dispatchKeyEvent", object{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": code, "text": text}, nil)
	p.Do("Input.dispatchKeyEvent", object{"type": "keyUp", "key": name, "code": name, "windowsVirtualKeyCode": code}, nil)
}

// picturesVariable is the variable that names the folder for pictures of pages, which .ci/pictures sets.
const picturesVariable = "DHTPROM_TEST_PICTURES"

// Pictured reports whether pictures are saved.
func Pictured() bool { return os.Getenv(picturesVariable) != "" }

// Picture takes a picture of the whole page, for review, and saves it if that is wanted.
func (p *Page) Picture(name string) {
	p.t.Helper()
	png := p.screenshot()
	if len(png) < 5000 {
		p.t.Errorf("the picture of %s has %d bytes", name, len(png))
	}
	if !Pictured() {
		return
	}
	if err := os.WriteFile(filepath.Join(os.Getenv(picturesVariable), name+".png"), png, 0o644); err != nil {
		p.t.Error(err)
	}
}

func (p *Page) screenshot() []byte {
	p.t.Helper()
	var r struct{ Data string }
	p.Do("Page.captureScreenshot", object{"format": "png", "captureBeyondViewport": true}, &r)
	png, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	return png
}
