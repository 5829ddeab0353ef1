// Prints what the Khronos validator finds in a GLB file; exits 1 on an error.
const fs = require("fs");
const validator = require("gltf-validator");

validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2]))).then((report) => {
  const { numErrors, numWarnings, numInfos, numHints, messages } = report.issues;
  console.log(JSON.stringify({ errors: numErrors, warnings: numWarnings, infos: numInfos, hints: numHints }));
  for (const message of messages.filter((m) => m.severity < 2)) console.error(message.code, message.message, message.pointer);
  process.exit(numErrors ? 1 : 0);
});
