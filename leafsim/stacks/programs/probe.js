// One handshake of Node.js, from version 8 on: node probe.js '{"host", "port", "name", "ca", "timeout"}'
var tls = require('tls');
var fs = require('fs');
var asked = JSON.parse(process.argv[2]);
function tell(answer) {
  process.stdout.write(JSON.stringify(answer) + '\n');
  process.exit(0);
}
var options = {
  host: asked.host,
  port: asked.port,
  checkServerIdentity: function (_host, certificate) { return tls.checkServerIdentity(asked.name, certificate); }
};
if (!require('net').isIP(asked.name)) options.servername = asked.name;
if (asked.ca !== 'system') options.ca = asked.ca ? [fs.readFileSync(asked.ca)] : [];
var socket = tls.connect(options, function () { tell({ ok: true }); });
socket.on('error', function (error) { tell({ ok: false, code: error.code || null, message: error.message }); });
socket.setTimeout(asked.timeout * 1000, function () { tell({ ok: false, code: 'timeout', message: 'no answer' }); });
