// The Azure IoT device SDK for Node.js, driven from outside: commands as JSON lines in, events as JSON lines out.
//
// The same commands and events as client.py; the SDK's public interface alone. Run with --require redirect.js and with
// NODE_PATH naming the SDK's node_modules.
'use strict'

const fs = require('fs')
const readline = require('readline')
const { Client, ModuleClient, Message, X509AuthenticationProvider } = require('azure-iot-device')
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt')

const DEADLINE = 20
const FACTS = {
  message_id: 'messageId',
  correlation_id: 'correlationId',
  user_id: 'userId',
  content_type: 'contentType',
  content_encoding: 'contentEncoding',
  expiry_time_utc: 'expiryTimeUtc'
}

function say (event, facts) {
  process.stdout.write(JSON.stringify({ event, ...facts }) + '\n')
}

// The error and what the transport said, as [class, message]; the outermost first.
function chainOf (error) {
  const found = []
  for (let one = error; one; one = one.transportError) found.push([one.constructor.name, one.message])
  return found
}

async function create (kind, transport, { connection_string: text, x509, edge }) {
  if (edge) { // what the Python SDK calls the Edge local development variables
    Object.assign(process.env, edge)
    return kind.fromEnvironment(transport)
  }
  if (!x509) return kind.fromConnectionString(text, transport)
  // The way that keeps the gateway's name: with x509=true in a connection string the SDK ignores GatewayHostName.
  const identity = { host: x509.hub, deviceId: x509.device_id, moduleId: x509.module_id, gatewayHostName: x509.gateway }
  return kind.fromAuthenticationProvider(new X509AuthenticationProvider(identity), transport)
}

function messageFacts (message) {
  const facts = {}
  for (const [fact, name] of Object.entries(FACTS)) if (message[name]) facts[fact] = message[name]
  const properties = {}
  for (let at = 0; at < message.properties.count(); at++) {
    const { key, value } = message.properties.getItem(at)
    properties[key] = value
  }
  return { body: message.getData().toString(), properties, ...facts }
}

const clients = new Map()

const driver = {
  async open (name, { transport = 'mqtt', ca, module = false, options = {}, ...identity }) {
    const client = await create(module ? ModuleClient : Client, transport === 'ws' ? MqttWs : Mqtt, identity)
    const all = { ...options }
    clients.set(name, { client, all, twin: null })
    if (ca !== undefined && ca !== null) all.ca = ca
    if (identity.x509) {
      all.cert = fs.readFileSync(identity.x509.certificate, 'utf8')
      all.key = fs.readFileSync(identity.x509.key, 'utf8')
    }
    if (Object.keys(all).length) await client.setOptions(all)
    client.on('connect', () => say('connected', { client: name }))
    client.on('disconnect', () => say('disconnected', { client: name }))
    client.on('error', error => say('background', { client: name, chain: chainOf(error) }))
    await client.open()
  },

  // With SAS renewal running, new values renew at once. All options are given again: the transport forgets the others.
  async renew (name, { valid, margin }) {
    const { client, all } = clients.get(name)
    const tokenRenewal = { tokenValidTimeInSeconds: valid, tokenRenewalMarginInSeconds: margin }
    await client.setOptions({ ...all, tokenRenewal })
  },

  async send (name, { body, properties = {}, output, ...facts }) {
    const message = new Message(body)
    for (const [key, value] of Object.entries(properties)) message.properties.add(key, value)
    for (const [fact, value] of Object.entries(facts)) message[FACTS[fact]] = value
    const { client } = clients.get(name)
    await (output === undefined ? client.sendEvent(message) : client.sendOutputEvent(output, message))
  },

  async twin (name) {
    const twin = await known(name)
    await twin.get()
    const { update, ...reported } = twin.properties.reported // `update` is the SDK's own function
    return { twin: { desired: twin.properties.desired, reported } }
  },

  async report (name, { patch }) {
    const twin = await known(name)
    await new Promise((resolve, reject) => {
      twin.properties.reported.update(patch, error => error ? reject(error) : resolve())
    })
  },

  async watch (name) {
    const twin = await known(name)
    twin.on('properties.desired', patch => say('desired', { client: name, patch }))
    await settle(name)
  },

  async serve (name, { methods }) {
    const { client } = clients.get(name)
    for (const [method, [status, answer]] of Object.entries(methods)) {
      const called = async (request, response) => {
        say('method', { client: name, name: request.methodName, payload: request.payload })
        await response.send(status, answer)
      }
      client instanceof ModuleClient ? client.onMethod(method, called) : client.onDeviceMethod(method, called)
    }
    await settle(name)
  },

  async listen (name) {
    const { client } = clients.get(name)
    if (client instanceof ModuleClient) {
      client.on('inputMessage', (input, message) => {
        say('message', { client: name, input, ...messageFacts(message) })
        client.complete(message)
      })
    } else {
      client.on('message', message => {
        say('message', { client: name, input: null, ...messageFacts(message) })
        client.complete(message)
      })
    }
    await settle(name)
  },

  // Call a method of another device or module, as modules may.
  async invoke (name, { device_id: device, module_id: module, method, payload }) {
    const call = { methodName: method, payload, responseTimeoutInSeconds: 10, connectTimeoutInSeconds: 5 }
    const { client } = clients.get(name)
    return { result: await (module ? client.invokeMethod(device, module, call) : client.invokeMethod(device, call)) }
  },

  async disconnect (name) {
    await clients.get(name).client.close()
  },

  async reconnect (name) {
    await clients.get(name).client.open()
  },

  async reset () {
    const all = [...clients.values()]
    clients.clear()
    await Promise.all(all.map(async ({ client }) => {
      client.removeAllListeners()
      await client.close()
    }))
    globalThis.redirect.clear()
  },

  async route (_, { host, port, to }) {
    globalThis.redirect.add(host, port, to)
  }
}

async function known (name) {
  const entry = clients.get(name)
  entry.twin = entry.twin || await entry.client.getTwin()
  return entry.twin
}

// Setting a listener subscribes in the background; what is sent after it is answered after it.
async function settle (name) {
  await (await known(name)).get()
}

async function obey ({ id, do: what, client, deadline = DEADLINE, ...facts }) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no result within ${deadline} s`)), deadline * 1000)
  })
  try {
    const found = await Promise.race([driver[what](client, facts), late])
    say('done', { id, client, ...found })
  } catch (error) {
    say('error', { id, client, chain: chainOf(error) })
  } finally {
    clearTimeout(timer)
  }
}

process.on('uncaughtException', error => say('uncaught', { chain: chainOf(error) }))
process.on('unhandledRejection', error => say('uncaught', { chain: chainOf(error) }))
readline.createInterface({ input: process.stdin })
  .on('line', line => obey(JSON.parse(line)))
  .on('close', () => process.exit(0))
say('ready')
