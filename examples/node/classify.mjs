// Classify texts: node classify.mjs ADDRESS TEXT...
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const proto = fileURLToPath(new URL('../../protos/bertwire/v1/classifier.proto', import.meta.url));
const { Classifier } = grpc.loadPackageDefinition(protoLoader.loadSync(proto, { keepCase: true })).bertwire.v1;

const [address, ...texts] = process.argv.slice(2);
const client = new Classifier(address, grpc.credentials.createInsecure());
client.Classify({ texts, top_k: 1 }, { deadline: Date.now() + 5000 }, (error, response) => {
  client.close();
  if (error) {
    console.error(`${grpc.status[error.code]}: ${error.details}`);
    process.exitCode = 1;
    return;
  }
  response.results.forEach(({ labels: [best] }, index) => {
    console.log(best.label, best.score.toFixed(3), texts[index]);
  });
});
