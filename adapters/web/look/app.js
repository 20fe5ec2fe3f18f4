// Keeps a page up to date: fetches it periodically and replaces the parts that changed. Without this script the page is the
// same, but not updated.
'use strict'

const every = 5000 // ms between two requests
const pause = document.getElementById('pause')
const store = { get: () => sessionStorage.getItem('paused') === 'yes', set: on => sessionStorage.setItem('paused', on ? 'yes' : 'no') }
let paused = false
try { paused = store.get() } catch { /* storage may be forbidden; then a pause lasts as long as the page */ }
let timer, busy

function show () {
  pause.textContent = paused ? 'Go on' : 'Pause'
  pause.setAttribute('aria-label', paused ? 'Go on updating this page' : 'Pause updating this page')
  document.documentElement.dataset.live = paused ? 'paused' : 'on'
}

pause.hidden = false
pause.addEventListener('click', () => {
  paused = !paused
  try { store.set(paused) } catch { /* see above */ }
  show()
  if (!paused) refresh()
})

// Parts in use are not replaced: one with selected text or a focused field waits.
function inHand (part) {
  const active = document.activeElement
  if (active && part.contains(active) && active.matches('input, select, textarea')) return true
  const selection = document.getSelection()
  return Boolean(selection && !selection.isCollapsed && selection.rangeCount && part.contains(selection.anchorNode))
}

function replace (old, fresh) {
  if (old.outerHTML === fresh.outerHTML || inHand(old)) return
  const focused = old.contains(document.activeElement) ? document.activeElement.id : ''
  for (const opened of old.querySelectorAll('details[open]')) fresh.querySelector('#' + opened.id)?.setAttribute('open', '')
  old.replaceWith(fresh)
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true })
  copyButtons(fresh)
}

// Rows are compared one by one, so that the cost of a long list is that of its changes.
function rows (old, fresh) {
  const from = old.querySelector('table.rows'); const to = fresh.querySelector('table.rows')
  if (!from || !to || from.tHead.outerHTML !== to.tHead.outerHTML) return replace(old, fresh)
  const wanted = [...to.tBodies]
  const keep = new Set(wanted.map(b => b.id))
  for (const body of [...from.tBodies]) if (!keep.has(body.id)) body.remove()
  let at = from.tBodies[0] || null
  for (const body of wanted) {
    const known = document.getElementById(body.id)
    if (!known) { from.insertBefore(body, at); continue }
    if (known === at) at = at.nextElementSibling
    else from.insertBefore(known, at)
    replace(known, body)
  }
  const turn = old.querySelector('.turn'); const turned = fresh.querySelector('.turn')
  if (turn && turned) replace(turn, turned)
  else if (turn) turn.remove()
  else if (turned) old.append(turned)
}

async function refresh () {
  clearTimeout(timer)
  if (busy) return
  busy = true
  try {
    const answer = await fetch(location.href, { cache: 'no-store', headers: { Accept: 'text/html' }, signal: AbortSignal.timeout(every * 2) })
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html')
    if (!fresh.getElementById('updated')) throw new Error('not our page')
    const parts = fresh.querySelectorAll('[data-live]')
    if (paused) {
      // requested before the pause, answered after it
    } else if (answer.ok && parts.length) {
      document.title = fresh.title
      for (const part of parts) {
        const old = document.getElementById(part.id)
        if (old) 'rows' in part.dataset ? rows(old, part) : replace(old, part)
      }
    } else if (answer.status === 404) {
      location.reload() // the alias was removed, and the new page reports it
    } else {
      late(answer.statusText || String(answer.status))
    }
  } catch {
    late('no answer')
  }
  busy = false
  schedule()
}

function late (why) {
  const updated = document.getElementById('updated')
  if (!updated.querySelector('.late')) updated.insertAdjacentHTML('beforeend', ' <strong class="late" role="alert"></strong>')
  updated.querySelector('.late').textContent = 'Not up to date: ' + why
}

function schedule () {
  clearTimeout(timer)
  if (!paused && !document.hidden) timer = setTimeout(refresh, every)
}

document.addEventListener('visibilitychange', () => { if (!document.hidden && !paused) refresh() })

function copyButtons (part) {
  for (const button of part.querySelectorAll('button[data-copy]')) {
    button.hidden = false
    button.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy)
        button.textContent = 'Copied'
      } catch { // no clipboard without TLS: select the text instead
        const text = button.parentElement.querySelector('code')
        document.getSelection().selectAllChildren(text)
        button.textContent = 'Selected'
      }
      setTimeout(() => { button.textContent = 'Copy' }, 2000)
    })
  }
}

show()
copyButtons(document)
schedule()
