// The JavaScript half of the comparison: a testnet, a client, or a scraper that measures.
//
//   node pair.js testnet                                 prints {bootstrap}
//   node pair.js client  BOOTSTRAP SCRAPERKEY BYTES      prints {key}
//   node pair.js scraper BOOTSTRAP SEED CLIENTKEY COUNT PARALLEL   prints the measurement
'use strict'

const path = require('path')
const modules = path.join(__dirname, '..', '..', 'interop', 'js', 'node_modules')
const load = (name) => require(path.join(modules, name))

const HyperDHT = load('hyperdht')
const Hyperswarm = load('hyperswarm')
const createTestnet = load('hyperdht/testnet')
const DhtPromClient = load('dht-prom-client')
const DhtPromScraper = load('dht-prom-client/scraper')

const print = (o) => process.stdout.write(JSON.stringify(o) + '\n')
const bootstrapOf = (text) => [{ host: text.split(':')[0], port: Number(text.split(':')[1]) }]

async function testnet () {
  const net = await createTestnet(6)
  print({ bootstrap: `127.0.0.1:${net.bootstrap[0].port}` })
}

async function client (bootstrap, scraperKey, bytes) {
  const body = '# TYPE filler counter\n'.padEnd(Number(bytes), 'filler_total 1\n')
  const dht = new HyperDHT({ bootstrap: bootstrapOf(bootstrap) })
  const c = new DhtPromClient(dht, () => body, scraperKey, 'bench', Buffer.alloc(32, 1), 'bench')
  await c.server.listen(c.serverKeyPair) // registering is not what is measured
  print({ key: c.publicKey.toString('hex') })
}

async function scraper (bootstrap, seed, clientKey, count, parallel) {
  const keyPair = HyperDHT.keyPair(Buffer.from(seed, 'hex'))
  const swarm = new Hyperswarm({ keyPair, bootstrap: bootstrapOf(bootstrap) })
  const s = new DhtPromScraper(swarm, Buffer.from(clientKey, 'hex'))
  const started = process.hrtime.bigint()
  const connected = new Promise((resolve) => s.once('connection-open', resolve))
  s.ready()
  await connected
  await once(s)
  const first = Number(process.hrtime.bigint() - started) / 1e6
  for (let i = 0; i < 300; i++) await once(s)

  const times = []
  const begin = process.hrtime.bigint()
  for (let i = 0; i < Number(count); i++) {
    const t = process.hrtime.bigint()
    await once(s)
    times.push(Number(process.hrtime.bigint() - t) / 1e3)
  }
  const serial = Number(process.hrtime.bigint() - begin) / 1e9

  let left = Number(count)
  const beginParallel = process.hrtime.bigint()
  await Promise.all(Array.from({ length: Number(parallel) }, async () => {
    while (left-- > 0) await once(s)
  }))
  const together = Number(process.hrtime.bigint() - beginParallel) / 1e9

  times.sort((a, b) => a - b)
  print({
    first_ms: first,
    p50_us: times[times.length >> 1],
    p99_us: times[Math.floor(times.length * 0.99)],
    serial_per_s: Number(count) / serial,
    parallel_per_s: Number(count) / together,
    rss_mb: process.memoryUsage().rss / (1 << 20)
  })
  process.exit(0)
}

async function once (s) {
  const reply = await s.requestMetrics()
  if (!reply.success) throw new Error(reply.errorMessage)
}

const roles = { testnet, client, scraper }
roles[process.argv[2]](...process.argv.slice(3)).catch((err) => {
  console.error(err)
  process.exit(1)
})
