// A client and a destination by dcmjs-dimse, driven by tests/system/interop.py: one JSON line an event.
//
//   client.js find|get|move PORT CALLING CALLED LEVEL FOLDER KEY=VALUE...   FOLDER: where what comes by C-GET goes
//   client.js serve PORT FOLDER                                            takes what is stored, in the plain syntaxes
'use strict';
const path = require('path');
const dimse = require('dcmjs-dimse');
const { Client, Scp, Server } = dimse;
const { CFindRequest, CGetRequest, CMoveRequest } = dimse.requests;
const { CEchoResponse, CStoreResponse } = dimse.responses;
const { PresentationContextResult, Status, TransferSyntax } = dimse.constants;

dimse.log.level = 'error';

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
      const wanted = [TransferSyntax.ExplicitVRLittleEndian, TransferSyntax.ImplicitVRLittleEndian];
      const taken = wanted.find((s) => syntaxes.includes(s));
      if (taken) context.setResult(PresentationContextResult.Accept, taken);
      else context.setResult(PresentationContextResult.RejectTransferSyntaxesNotSupported);
    }
    this.sendAssociationAccept();
  }
  cEchoRequest(request, callback) {
    const response = CEchoResponse.fromRequest(request);
    response.setStatus(Status.Success);
    callback(response);
  }
  cStoreRequest(request, callback) {
    keep(request, Keeper.folder, callback);
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
  const server = new Server(Keeper);
  server.on('networkError', (e) => say({ network: String(e) }));
  server.listen(Number(port));
  say({ listening: true });
} else {
  const [calling, called, level, folder, ...keys] = rest;
  const client = new Client();
  const asked = request(what, level, keys, calling);
  asked.on('response', (response) => {
    const event = { status: response.getStatus() };
    if (response.hasDataset()) event.elements = response.getDataset().getElements();
    for (const n of ['Remaining', 'Completed', 'Failures', 'Warnings'])
      if (response['get' + n]) event[n.toLowerCase()] = response['get' + n]();
    say(event);
  });
  client.on('cStoreRequest', (store, callback) => keep(store, folder, callback));
  client.on('associationRejected', (why) => say({ rejected: why }));
  client.on('networkError', (e) => say({ network: String(e) }));
  client.addRequest(asked);
  client.send('127.0.0.1', Number(port), calling, called);
}
