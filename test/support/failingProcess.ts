import { runProcess } from '@trivec/core/runProcess';

// A process whose device is lost: it closes what it holds and ends with 1.
await runProcess('any', async ({ resources, fail }) => {
  resources.add({
    close: async () => {
      process.stdout.write('closed\n');
    },
  });
  setInterval(() => {}, 1000);
  setTimeout(() => fail(new Error('The device is gone.')), 10);
});
