// Koop with one GeoJSON file behind it: node server.js PORT FILE LARGEST_ANSWER
// The file's member "metadata" says what GeoJSON cannot: name, idField, fields with types and aliases. Every request is
// written to the output, one line each.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const Koop = require('@koopjs/koop-core');

const [port, file, largest] = process.argv.slice(2);
const collection = JSON.parse(fs.readFileSync(file, 'utf8'));
const metadata = { maxRecordCount: Number(largest), ...collection.metadata };
const system = /(\d+)$/.exec(collection.crs?.properties?.name ?? '')?.[1] ?? '4326';
const WHOLE = ['returnIdsOnly', 'returnCountOnly', 'returnExtentOnly', 'outStatistics']; // answers that need all features

class Model {
  async getData(request) {
    asArcGis(request.method === 'POST' ? request.body : request.query);
    return { ...collection, metadata: { ...metadata } }; // Koop notes in it that there is more
  }
}

// What Koop does not do by itself: no answer is larger than the service announces, and rectangles are in the layer's system.
function asArcGis(query) {
  query.inSR ||= system;
  if (!WHOLE.some((name) => query[name] && query[name] !== 'false')) {
    query.resultRecordCount = Math.min(Number(query.resultRecordCount) || Infinity, metadata.maxRecordCount);
  }
}

const koop = new Koop({ logLevel: 'warn' });
koop.register({ type: 'provider', name: 'file', version: '1', disableIdParam: true, Model });
http
  .createServer((request, response) => {
    fs.writeSync(1, `${request.method} ${request.url}\n`);
    response.setHeader('Cache-Control', 'no-store'); // QGIS would keep answers beyond this server's end
    koop.server(request, response);
  })
  .listen(Number(port), '127.0.0.1');
