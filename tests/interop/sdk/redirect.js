// Sends the connections of this process elsewhere: host:port -> [address, port], below every library (node --require).
//
// The SDK connects to ports 8883 and 443. Every connection, TLS or not, ends in net.Socket.prototype.connect; the
// options are copied there, so that neither the name that is verified nor the server name that is sent changes.
'use strict'

const net = require('net')

const routes = new Map()
const connect = net.Socket.prototype.connect

net.Socket.prototype.connect = function (...given) {
  const normalised = Array.isArray(given[0]) ? given[0] : net._normalizeArgs(given)
  const [options, callback] = normalised
  const route = routes.get(`${options.host || 'localhost'}:${options.port}`.toLowerCase())
  if (!route) return connect.apply(this, given)
  const elsewhere = { ...options, host: route[0], port: route[1] }
  return callback ? connect.call(this, elsewhere, callback) : connect.call(this, elsewhere)
}

globalThis.redirect = {
  add: (host, port, to) => routes.set(`${host}:${port}`.toLowerCase(), to),
  clear: () => routes.clear()
}
