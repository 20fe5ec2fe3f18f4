'use strict'

// Reads `go test -json`, prints what failed in full and the rest as numbers. Ends with 1 where something
// failed, or where the interop tests did not run.

const readline = require('readline')

const INTEROP = 'github.com/dhtprom/dhtprom/interop'
const tests = { pass: 0, fail: 0, skip: 0 }
const packages = { pass: 0, fail: 0, skip: 0 }
const interop = { pass: 0, fail: 0, skip: 0 }
const output = new Map() // of tests and packages that have not ended yet
const failed = []
const skipped = []
const slow = []

function take (line) {
  let event
  try {
    event = JSON.parse(line)
  } catch {
    console.log(line) // of the go command itself, such as a build error
    return
  }
  const { Action: action, Package: pkg = event.ImportPath, Test: test, Output: text, Elapsed: elapsed = 0 } = event
  const name = test ? `${pkg} ${test}` : pkg
  if (action === 'output' || action === 'build-output') {
    output.set(name, (output.get(name) || '') + text)
    return
  }
  if (action === 'build-fail') {
    failed.push(`${name} does not build\n${output.get(name) || ''}`)
    return
  }
  if (!Object.hasOwn(tests, action)) return
  if (test) {
    tests[action]++
    if ((pkg === INTEROP || pkg.startsWith(INTEROP + '/'))) interop[action]++
    if (elapsed >= 5) slow.push(`${elapsed.toFixed(1)} s  ${name}`)
  } else {
    packages[action]++
  }
  if (action === 'fail') failed.push(`${name}\n${output.get(name) || ''}`)
  if (action === 'skip' && test) skipped.push(`${name}\n${output.get(name) || ''}`)
  output.delete(name)
}

function report () {
  for (const text of failed) console.log(`--- FAILED ${text}`)
  for (const text of skipped) console.log(`--- skipped ${text}`)
  if (slow.length) console.log(`slow:\n  ${slow.sort((a, b) => parseFloat(b) - parseFloat(a)).join('\n  ')}`)
  console.log(`packages: ${packages.pass} ok, ${packages.fail} failed, ${packages.skip} without tests`)
  console.log(`tests:    ${tests.pass} ok, ${tests.fail} failed, ${tests.skip} skipped`)
  console.log(`interop:  ${interop.pass} ok, ${interop.fail} failed, ${interop.skip} skipped`)
  let good = failed.length === 0 && tests.pass > 0
  if (interop.pass === 0 || interop.skip > 0) {
    console.log('the interop tests did not all run')
    good = false
  }
  console.log(good ? 'GREEN' : 'RED')
  process.exit(good ? 0 : 1)
}

readline.createInterface({ input: process.stdin }).on('line', take).on('close', report)
