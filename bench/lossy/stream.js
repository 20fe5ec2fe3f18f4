// One end of a bare UDX stream of the reference implementation.
//
//   node stream.js receive RELAYPORT          prints {port}, and {seconds} from the first byte to the end
//   node stream.js send    RELAYPORT BYTES
'use strict'

const path = require('path')
const UDX = require(path.join(__dirname, '..', '..', 'interop', 'js', 'node_modules', 'udx-native'))

const [role, port, bytes] = process.argv.slice(2)
const print = (o) => process.stdout.write(JSON.stringify(o) + '\n')
const u = new UDX()
const socket = u.createSocket()
socket.bind(0, '127.0.0.1')

if (role === 'receive') {
  const stream = u.createStream(2)
  let first = 0n
  let n = 0
  stream.on('data', (b) => {
    if (n === 0) first = process.hrtime.bigint()
    n += b.byteLength
  })
  stream.on('end', () => {
    print({ seconds: Number(process.hrtime.bigint() - first) / 1e9, bytes: n })
    stream.end()
  })
  stream.on('close', () => process.exit(0))
  stream.on('error', (err) => { print({ error: err.message }); process.exit(1) })
  stream.connect(socket, 1, Number(port), '127.0.0.1')
  print({ port: socket.address().port })
} else {
  const stream = u.createStream(1)
  const chunk = Buffer.alloc(65536)
  let left = Number(bytes)
  const fill = () => {
    while (left > 0) {
      const n = Math.min(left, chunk.byteLength)
      left -= n
      if (!stream.write(chunk.subarray(0, n)) && left > 0) return stream.once('drain', fill)
    }
    stream.end()
  }
  stream.on('data', () => {})
  stream.on('close', () => process.exit(0))
  stream.on('error', (err) => { print({ error: err.message }); process.exit(1) })
  stream.connect(socket, 2, Number(port), '127.0.0.1')
  fill()
}
