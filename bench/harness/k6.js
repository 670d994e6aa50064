// k6 run -e ADDRESS=127.0.0.1:8500 -e RATE=100 -e DURATION=30s bench/harness/k6.js
// Calls arrive at a constant rate, however long the answers take; dropped_iterations counts those that k6 could not start.
import grpc from 'k6/net/grpc';
import { check } from 'k6';

const TEXTS = [
  'Not bad at all!',
  'It broke after a day, and nobody answers.',
  'Does what it says. The second one I bought, and there will be a third for my sister.',
];

export const options = {
  scenarios: {
    classify: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 100),
      timeUnit: '1s',
      duration: __ENV.DURATION || '30s',
      preAllocatedVUs: 64,
      maxVUs: 512,
    },
  },
  thresholds: { checks: ['rate>0.99'], grpc_req_duration: ['p(99)<250'] },
};

const client = new grpc.Client();
client.load([import.meta.resolve('../../protos')], 'bertwire/v1/classifier.proto');

export default function () {
  // A connection for each virtual user, kept.
  if (__ITER === 0) {
    client.connect(__ENV.ADDRESS || '127.0.0.1:8500', { plaintext: true });
  }
  const request = { texts: [TEXTS[__ITER % TEXTS.length]], top_k: 1 };
  const response = client.invoke('bertwire.v1.Classifier/Classify', request, { timeout: '1s' });
  check(response, { OK: (answer) => answer && answer.status === grpc.StatusOK });
}
