// The Azure IoT Hub service SDK for Node.js, driven from outside: commands as JSON lines in, answers as JSON lines out.
//
// The same commands as driver.py, as far as this SDK has them; its public interface alone. Run with --require
// redirect.js (the SDK connects to port 443 and nothing else) and with NODE_PATH naming the SDK's node_modules.
'use strict'

const readline = require('readline')
const { Registry, Client, JobClient } = require('azure-iothub')

const MODES = { create: 'addDevices', update: 'updateDevices', updateIfMatchETag: 'updateDevices', delete: 'removeDevices', deleteIfMatchETag: 'removeDevices' }

let registry, client, jobs

function authentication (proof) {
  if (proof.keys) {
    const [primaryKey, secondaryKey] = proof.keys
    return { type: 'sas', symmetricKey: primaryKey ? { primaryKey, secondaryKey } : {} }
  }
  if (proof.thumbprints) {
    const [primaryThumbprint, secondaryThumbprint] = proof.thumbprints
    return { type: 'selfSigned', x509Thumbprint: { primaryThumbprint, secondaryThumbprint } }
  }
  return { type: 'certificateAuthority' }
}

function described ({ device, proof, status = 'enabled', edge = false, reason, scope, parents }) {
  return {
    deviceId: device,
    status,
    statusReason: reason,
    authentication: authentication(proof),
    capabilities: { iotEdge: edge },
    deviceScope: scope,
    parentScopes: parents
  }
}

const body = async (call) => (await call).responseBody

const driver = {
  async route ({ host, port, to }) { globalThis.redirect.add(host, port, to) },
  async connect ({ connection_string: text }) {
    registry = Registry.fromConnectionString(text)
    client = Client.fromConnectionString(text)
    jobs = JobClient.fromConnectionString(text)
  },
  create_device: (facts) => body(registry.create(described(facts))),
  update_device: (facts) => body(registry.update(described(facts))),
  get_device: ({ device }) => body(registry.get(device)),
  delete_device: ({ device }) => body(registry.delete(device)),
  list_devices: () => body(registry.list()),
  bulk ({ mode, devices }) {
    const force = mode.includes('IfMatch') ? [false] : mode === 'create' ? [] : [true]
    return body(registry[MODES[mode]](devices, ...force))
  },
  create_module: ({ device, module, proof, managed_by: managedBy }) =>
    body(registry.addModule({ deviceId: device, moduleId: module, managedBy, authentication: authentication(proof) })),
  update_module ({ device, module, proof, managed_by: managedBy, etag }) {
    const changed = { deviceId: device, moduleId: module, managedBy, authentication: authentication(proof), etag }
    return body(registry.updateModule(changed, etag === undefined))
  },
  get_module: ({ device, module }) => body(registry.getModule(device, module)),
  list_modules: ({ device }) => body(registry.getModulesOnDevice(device)),
  delete_module: ({ device, module }) => body(registry.removeModule(device, module)),
  async get_twin ({ device, module }) {
    return module ? body(registry.getModuleTwin(device, module)) : body(registry.getTwin(device))
  },
  async patch_twin ({ device, module, twin, etag = '*' }) {
    if (module) return body(registry.updateModuleTwin(device, module, twin, etag))
    return body(registry.updateTwin(device, twin, etag))
  },
  async query ({ text, size }) {
    const query = registry.createQuery(text, size)
    const pages = []
    // Without its token, next() begins anew each time when it is to give a promise.
    do pages.push((await query.next(query.continuationToken)).result)
    while (query.hasMoreResults)
    return { pages }
  },
  async method ({ device, module, name, payload, response_timeout_in_seconds: responseTimeoutInSeconds, connect_timeout_in_seconds: connectTimeoutInSeconds }) {
    const facts = { methodName: name, payload, responseTimeoutInSeconds, connectTimeoutInSeconds }
    const answered = module ? client.invokeDeviceMethod(device, module, facts) : client.invokeDeviceMethod(device, facts)
    return (await answered).result
  },
  statistics: () => body(registry.getRegistryStatistics()),
  create_configuration: ({ configuration }) => body(registry.addConfiguration(configuration)),
  get_configuration: ({ name }) => body(registry.getConfiguration(name)),
  update_configuration: ({ configuration, etag }) => body(registry.updateConfiguration({ ...configuration, etag }, false)),
  list_configurations: () => body(registry.getConfigurations()),
  delete_configuration: ({ name }) => body(registry.removeConfiguration(name)),
  apply: ({ device, content }) => body(registry.applyConfigurationContentOnDevice(device, content)),
  async schedule_twin_update ({ job, condition, twin }) {
    return (await jobs.scheduleTwinUpdate(job, condition, twin, new Date(), 60)).jobStatus
  },
  async get_job ({ job }) { return (await jobs.getJob(job)).jobStatus }
}

function say (facts) {
  process.stdout.write(JSON.stringify({ event: 'done', ...facts }) + '\n')
}

async function answer ({ id, do: what, client: _client, deadline: _deadline, ...facts }) {
  try {
    const value = await driver[what](facts)
    say({ id, value: value === undefined || value === '' ? null : value })
  } catch (error) {
    if (!error.response && !error.code) return say({ event: 'error', id, chain: [[error.constructor.name, error.stack]] })
    const status = error.response ? error.response.statusCode : undefined
    say({ id, refused: { kind: error.constructor.name, status, body: error.responseBody || error.message } })
  }
}

say({ event: 'ready' })
readline.createInterface({ input: process.stdin }).on('line', (line) => answer(JSON.parse(line))).on('close', () => process.exit())
