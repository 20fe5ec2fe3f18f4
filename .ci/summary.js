'use strict'

// Reads `go test -json`, prints what failed in full and the rest as numbers. Ends with 1 where something
// failed, or where a part that must run did not.

const fs = require('fs')
const readline = require('readline')

const MODULE = 'github.com/dhtprom/dhtprom/'

// What must run, test by test, by what it proves.
const required = [
  { what: 'JavaScript peers', folder: 'interop' },
  { what: 'kernel NATs', folder: 'interop/kernelnat' },
  { what: 'nodes behind kernel NATs', folder: 'interop/natlab', optional: !fs.existsSync('interop/natlab') },
  { what: 'Prometheus', folder: 'interop/prometheus' },
  { what: 'etcd', folder: 'interop/etcd' },
  { what: 'groups of scrapers', folder: 'interop/group' },
  { what: 'TURN', folder: 'interop/turn' },
  { what: 'direct equals through', folder: 'interop/direct' },
  { what: 'manifests', folder: 'interop/deploy' },
  { what: 'documentation', folder: 'interop/docs' },
  { what: 'packaging', folder: 'interop/packaging' },
  { what: 'sidecar and newcomer', folder: 'interop/sidecar' },
  { what: 'scenarios', folder: 'sim' }
]
for (const r of required) r.count = { pass: 0, fail: 0, skip: 0 }

const tests = { pass: 0, fail: 0, skip: 0 }
const packages = { pass: 0, fail: 0, skip: 0 }
const output = new Map() // of tests and packages that have not ended yet
const failed = []
const reasons = [] // of failed tests, without what their processes printed
const skipped = []
const slow = []
const slowPackages = []
const costs = new Map() // of packages: seconds of processors

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
  const cost = /^cost: ([\d.]+) s of processors, in the kernel ([\d.]+) s/.exec(text) // by .ci/cost
  if (cost) costs.set(pkg, Number(cost[1]) + Number(cost[2]))
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
    for (const r of required) if (pkg === MODULE + r.folder) r.count[action]++
    if (elapsed >= 5 && !test.includes('/')) slow.push(`${elapsed.toFixed(1)} s  ${name}`)
  } else {
    packages[action]++
    const cost = costs.get(pkg) || 0
    if (elapsed >= 10 || cost >= 10) slowPackages.push(`${cost.toFixed(1)} s of processors in ${elapsed.toFixed(1)} s  ${name}`)
  }
  if (action === 'fail') {
    failed.push(`${name}\n${output.get(name) || ''}`)
    if (test) reasons.push(`${name}\n${reason(output.get(name) || '')}`)
  }
  if (action === 'skip' && test) skipped.push(`${name}\n${output.get(name) || ''}`)
  output.delete(name)
}

// reason returns the messages of a test, each with its first lines.
function reason (text) {
  const messages = text.split(/^(?= {4,}\w+\.go:\d+: )/m).slice(1).filter((m) => !/ printed:\n/.test(m))
  return messages.map((m) => m.split('\n').slice(0, 8).join('\n').slice(0, 2000).trimEnd()).join('\n')
}

function print (title, list) {
  if (list.length) console.log(`${title}:\n  ${list.sort((a, b) => parseFloat(b) - parseFloat(a)).slice(0, 25).join('\n  ')}`)
}

function report () {
  for (const text of failed) console.log(`--- FAILED ${text}`)
  for (const text of skipped) console.log(`--- skipped ${text}`)
  print('slow packages', slowPackages)
  print('slow tests', slow)
  console.log(`cost:     ${[...costs.values()].reduce((sum, cost) => sum + cost, 0).toFixed(0)} s of processors in tests`)
  console.log(`packages: ${packages.pass} ok, ${packages.fail} failed, ${packages.skip} without tests`)
  console.log(`tests:    ${tests.pass} ok, ${tests.fail} failed, ${tests.skip} skipped`)
  for (const text of reasons) console.log(`--- failed ${text}`) // once more, where the end of a log is kept
  let good = failed.length === 0 && tests.pass > 0
  for (const { what, count, optional } of required) {
    if (optional) continue
    const ran = count.pass > 0 && count.fail === 0 && count.skip === 0
    console.log(`  ${what}: ${count.pass} ok, ${count.fail} failed, ${count.skip} skipped${ran ? '' : ' - NOT ALL RAN'}`)
    good &&= ran
  }
  console.log(good ? 'GREEN' : 'RED')
  process.exit(good ? 0 : 1)
}

readline.createInterface({ input: process.stdin }).on('line', take).on('close', report)
