// A client and a destination by dcmjs-dimse, driven by tests/system/interop.py: one JSON line an event.
//
//   client.js find|get|move PORT CALLING CALLED LEVEL FOLDER KEY=VALUE...   FOLDER: where what comes by C-GET goes
//   client.js store PORT CALLING CALLED FILE...                            each as it is, in its own syntax
//   client.js transcode FILE OUT SYNTAX                                    by dcmjs-codecs
//   client.js commit PORT CALLING CALLED TRANSACTION CLASS INSTANCE...     waits a little for its result
//   client.js serve PORT FOLDER                                            takes what is stored, in the plain syntaxes;
//                                                                          SYNTAXES: in these, by commas; BREAKS: so
//                                                                          often it aborts instead, at first
//
// CANCEL=n: a C-GET is cancelled at the nth image. ASYNC=n: so many operations at once are proposed, and asked for.
'use strict';
const fs = require('fs');
const net = require('net');
const path = require('path');
const dimse = require('dcmjs-dimse');
const { Client, Scp, Server } = dimse;
const { CFindRequest, CGetRequest, CMoveRequest, CStoreRequest, NActionRequest } = dimse.requests;
const { CEchoResponse, CStoreResponse, NEventReportResponse } = dimse.responses;
const { PresentationContextResult, Status, TransferSyntax } = dimse.constants;

dimse.log.level = 'error';

// It negotiates nothing beyond the baseline: EXTENDED (hex digits, a byte for each of PS3.4 C.5.1.1) is added to its
// A-ASSOCIATE-RQ for the class that is asked, as a sub-item 56H of the user information (PS3.7 D.3.3.5).
function negotiateExtended(bytes, uid) {
  const write = net.Socket.prototype.write;
  net.Socket.prototype.write = function (data, ...more) {
    if (Buffer.isBuffer(data) && data[0] === 1) {
      const item = Buffer.alloc(6 + uid.length);
      item.writeUInt8(0x56, 0);
      item.writeUInt16BE(2 + uid.length + bytes.length, 2);
      item.writeUInt16BE(uid.length, 4);
      item.write(uid, 6, 'ascii');
      const grown = item.length + bytes.length;
      const made = Buffer.concat([data, item, bytes]);
      made.writeUInt32BE(data.readUInt32BE(2) + grown, 2);
      let at = 74; // of the first item
      while (made[at] !== 0x50) at += 4 + made.readUInt16BE(at + 2);
      made.writeUInt16BE(made.readUInt16BE(at + 2) + grown, at + 2);
      data = made;
    }
    return write.call(this, data, ...more);
  };
}

// TLS=CERT:KEY:CA: by TLS, and each proves the other.
function secured() {
  if (!process.env.TLS) return {};
  const [cert, key, ca] = process.env.TLS.split(':').map((file) => fs.readFileSync(file));
  return { securityOptions: { cert, key, ca, requestCert: true, rejectUnauthorized: true, servername: '' } };
}

function say(event) {
  process.stdout.write(JSON.stringify(event) + '\n');
}

function keep(request, folder, callback) {
  const dataset = request.getDataset();
  const uid = request.getAffectedSopInstanceUid();
  const file = path.join(folder, uid + '.dcm');
  const response = CStoreResponse.fromRequest(request);
  dataset.toFile(file, (error) => {
    response.setStatus(error ? Status.ProcessingFailure : Status.Success);
    say({ stored: uid, syntax: dataset.getTransferSyntaxUid(), error: error ? String(error) : undefined });
    callback(response);
  });
}

class Keeper extends Scp {
  associationRequested(association) {
    for (const { context } of association.getPresentationContexts()) {
      const syntaxes = context.getTransferSyntaxUids();
      const plain = [TransferSyntax.ExplicitVRLittleEndian, TransferSyntax.ImplicitVRLittleEndian];
      const wanted = process.env.SYNTAXES ? process.env.SYNTAXES.split(',') : plain;
      const taken = wanted.find((s) => syntaxes.includes(s));
      if (taken) context.setResult(PresentationContextResult.Accept, taken);
      else context.setResult(PresentationContextResult.RejectTransferSyntaxesNotSupported);
      if (context.getAbstractSyntaxUid() !== '1.2.840.10008.1.1') Keeper.images = true;
    }
    if (Keeper.images) say({ association: association.getCallingAeTitle() });
    Keeper.images = false;
    this.sendAssociationAccept();
  }
  cEchoRequest(request, callback) {
    const response = CEchoResponse.fromRequest(request);
    response.setStatus(Status.Success);
    callback(response);
  }
  cStoreRequest(request, callback) {
    if (Keeper.breaks-- > 0) this.sendAbort();
    else keep(request, Keeper.folder, callback);
  }
  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

function request(what, level, keys, calling) {
  const elements = Object.fromEntries(
    keys.map((k) => [k.slice(0, k.indexOf('=')), k.slice(k.indexOf('=') + 1) || []])
  );
  const all = { QueryRetrieveLevel: level, ...elements };
  let made;
  if (what === 'find') {
    made = new CFindRequest();
  } else if (what === 'get') {
    made = new CGetRequest();
    made.setAddStorageSopClassesToAssociation(true);
  } else {
    made = CMoveRequest.createStudyMoveRequest(process.env.DESTINATION || calling, '');
  }
  made.setDataset(new dimse.Dataset(all));
  return made;
}

const [what, port, ...rest] = process.argv.slice(2);
if (what === 'serve') {
  Keeper.folder = rest[0];
  Keeper.breaks = Number(process.env.BREAKS || 0);
  const server = new Server(Keeper);
  server.on('networkError', (e) => say({ network: String(e) }));
  server.listen(Number(port));
  say({ listening: true });
} else if (what === 'transcode') {
  const { NativeCodecs, Transcoder } = require('dcmjs-codecs');
  const [out, syntax] = rest;
  NativeCodecs.initializeAsync().then(() => {
    const transcoder = new Transcoder(new Uint8Array(fs.readFileSync(port)).buffer);
    transcoder.transcode(syntax);
    fs.writeFileSync(out, Buffer.from(transcoder.getDicomPart10()));
  });
} else if (what === 'store') {
  const [calling, called, ...files] = rest;
  const client = new Client();
  for (const file of files) {
    const asked = new CStoreRequest(file);
    asked.on('response', (response) => say({ file, status: response.getStatus() }));
    client.addRequest(asked);
  }
  client.on('associationRejected', (why) => say({ rejected: why }));
  client.on('networkError', (e) => say({ network: String(e) }));
  client.send('127.0.0.1', Number(port), calling, called, secured());
} else if (what === 'commit') {
  const [calling, called, transaction, sopClass, ...instances] = rest;
  const client = new Client();
  const model = '1.2.840.10008.1.20.1';
  const asked = new NActionRequest(model, model + '.1', 1);
  const items = instances.map((uid) => ({ ReferencedSOPClassUID: sopClass, ReferencedSOPInstanceUID: uid }));
  asked.setDataset(new dimse.Dataset({ TransactionUID: transaction, ReferencedSOPSequence: items }));
  asked.on('response', (response) => say({ status: response.getStatus() }));
  client.on('nEventReportRequest', (report, callback) => {
    const response = NEventReportResponse.fromRequest(report);
    response.setStatus(Status.Success);
    say({ event: report.getEventTypeId(), elements: report.getDataset().getElements() });
    callback(response);
  });
  client.on('networkError', (e) => say({ network: String(e) }));
  client.addRequest(asked);
  client.send('127.0.0.1', Number(port), calling, called, { associationLingerTimeout: 700 });
} else {
  const [calling, called, level, folder, ...keys] = rest;
  const client = new Client();
  const [cancel, window] = [Number(process.env.CANCEL || 0), Number(process.env.ASYNC || 1)];
  let stores = 0;
  const models = { find: '2.2.1', move: '2.2.2', get: '2.2.3' };
  if (process.env.EXTENDED)
    negotiateExtended(Buffer.from(process.env.EXTENDED, 'hex'), '1.2.840.10008.5.1.4.1.' + models[what]);
  const all = Array.from({ length: window }, () => request(what, level, keys, calling));
  const told = (response) => {
    const event = { status: response.getStatus() };
    if (response.hasDataset()) event.elements = response.getDataset().getElements();
    for (const n of ['Remaining', 'Completed', 'Failures', 'Warnings'])
      if (response['get' + n]) event[n.toLowerCase()] = response['get' + n]();
    say(event);
  };
  client.on('cStoreRequest', (store, callback) => {
    if (++stores === cancel) client.cancel(all[0]);
    keep(store, folder, callback);
  });
  client.on('associationRejected', (why) => say({ rejected: why }));
  client.on('networkError', (e) => say({ network: String(e) }));
  for (const asked of all) {
    asked.on('response', told);
    client.addRequest(asked);
  }
  const asyncOps = { maxAsyncOpsInvoked: window, maxAsyncOpsPerformed: window };
  client.send('127.0.0.1', Number(port), calling, called, { ...secured(), asyncOps });
}
