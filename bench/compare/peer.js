// The JavaScript roles of the comparison. Each prints lines of JSON: one when it is ready, and one for each line on its standard input,
// with which it ends.
//
//   node peer.js bridge BOOTSTRAP SEED SECRET                          {address, key}
//   node peer.js client BOOTSTRAP SCRAPERKEY SECRET ALIAS PAGE         {}   any line: reads the file PAGE again
'use strict'

const fs = require('fs')
const http = require('http')
const path = require('path')
const readline = require('readline')
const modules = path.join(__dirname, '..', '..', 'interop', 'js', 'node_modules')
const load = (name) => require(path.join(modules, name))

const HyperDHT = load('hyperdht')
const Hyperswarm = load('hyperswarm')
const AliasRpcServer = load('dht-prom-alias-rpc')
const DhtPromClient = load('dht-prom-client')
const DhtPromScraper = load('dht-prom-client/scraper')

const print = (o) => process.stdout.write(JSON.stringify(o) + '\n')
const bootstrapOf = (text) => [{ host: text.split(':')[0], port: Number(text.split(':')[1]) }]
const node = (bootstrap) => new HyperDHT({ bootstrap: bootstrapOf(bootstrap), host: '127.0.0.1' })

// bridge has the published packages of the bridge, and its handler for scrapes on node's HTTP server.
async function bridge (bootstrap, seed, secret) {
  const swarm = new Hyperswarm({ dht: node(bootstrap), keyPair: HyperDHT.keyPair(Buffer.from(seed, 'hex')) })
  swarm.on('connection', (socket) => socket.on('error', () => {}))
  const scrapers = new Map()
  new AliasRpcServer(swarm, Buffer.from(secret, 'hex'), (alias, key) => { // eslint-disable-line no-new
    const scraper = new DhtPromScraper(swarm, key)
    scraper.on('connection-error', () => {})
    scraper.ready()
    const former = scrapers.get(alias)
    scrapers.set(alias, scraper)
    if (former) former.close()
    return true
  })
  await swarm.listen()
  const server = http.createServer({ keepAliveTimeout: 72000 }, async (req, res) => {
    const scraper = scrapers.get(req.url.split('/')[2])
    let reply = { success: false, errorMessage: 'unknown alias' }
    try {
      if (scraper) reply = await scraper.requestMetrics()
    } catch (err) {
      reply.errorMessage = err.message
    }
    const body = Buffer.from(reply.success ? reply.metrics : reply.errorMessage)
    res.writeHead(reply.success ? 200 : 502, { 'content-type': 'text/plain; charset=utf-8', 'content-length': body.length })
    res.end(body)
  })
  server.listen(0, '127.0.0.1', () => print({ address: `127.0.0.1:${server.address().port}`, key: swarm.keyPair.publicKey.toString('hex') }))
  return () => ({})
}

async function client (bootstrap, scraperKey, secret, alias, page) {
  let body = fs.readFileSync(page, 'utf8')
  const c = new DhtPromClient(node(bootstrap), () => body, scraperKey, alias, Buffer.from(secret, 'hex'), 'bench')
  c.on('register-alias-error', (err) => console.error(err))
  await c.ready()
  print({})
  return () => {
    body = fs.readFileSync(page, 'utf8')
    return {}
  }
}

const roles = { bridge, client }

async function main ([role, ...args]) {
  const lines = readline.createInterface({ input: process.stdin })
  const answer = await roles[role](...args)
  for await (const line of lines) print(await answer(...line.split(' ')))
  process.exit(0)
}

main(process.argv.slice(2)).catch((err) => {
  console.error(err)
  process.exit(1)
})
