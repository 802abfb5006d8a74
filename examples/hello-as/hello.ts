// hello greets, and shows all that a program can be given: arguments, standard input, files, an exit code.
import {
  errnoToString,
  fd_prestat_dir_name,
  fd_prestat_get,
  fd_read,
  lookupflags,
  path_open,
  prestat,
  rights,
} from "@assemblyscript/wasi-shim/assembly/bindings/wasi_snapshot_preview1";

/** Copies everything that is left in file `from` to standard output. */
function copy(from: u32): i32 {
  const buffer = new ArrayBuffer(65536);
  const place = new StaticArray<usize>(3); // where to read to, how much, how much it was
  place[0] = changetype<usize>(buffer);
  place[1] = buffer.byteLength;
  const at = changetype<usize>(place);
  while (true) {
    const err = fd_read(from, at, 1, at + 2 * sizeof<usize>());
    if (err != 0) return complain(errnoToString(err), 1);
    if (place[2] == 0) return 0;
    process.stdout.write(buffer.slice(0, <i32>place[2]));
  }
}

/** Opens an absolute path in the folder of the host that holds it: folders are open from descriptor 3 on. */
function cat(path: string): i32 {
  const stat = new StaticArray<u32>(2); // a tag, the length of the folder's name
  for (let folder: u32 = 3; fd_prestat_get(folder, changetype<prestat>(stat)) == 0; folder++) {
    const name = new ArrayBuffer(stat[1]);
    if (fd_prestat_dir_name(folder, changetype<usize>(name), stat[1]) != 0) break;
    let prefix = String.UTF8.decode(name);
    if (!prefix.endsWith("/")) prefix += "/";
    if (!path.startsWith(prefix)) continue;
    const rest = String.UTF8.encode(path.slice(prefix.length));
    const opened = new StaticArray<u32>(1);
    const err = path_open(folder, lookupflags.SYMLINK_FOLLOW, changetype<usize>(rest), rest.byteLength, 0,
      rights.FD_READ | rights.FD_SEEK, 0, 0, changetype<usize>(opened));
    return err == 0 ? copy(opened[0]) : complain(path + ": " + errnoToString(err), 1);
  }
  return complain(path + ": no folder of the host holds it", 1);
}

/** Reads the exit code that is asked for. */
function leave(number: string): i32 {
  const code = I32.parseInt(number);
  if (code.toString() != number || code < 0 || code > 127) {
    return complain('exit "' + number + '": want a number from 0 to 127', 2);
  }
  return code;
}

function complain(what: string, code: i32): i32 {
  process.stderr.write("hello: " + what + "\n");
  return code;
}

function main(args: string[]): i32 {
  if (args.length > 0 && args[0] == "copy") return copy(0);
  if (args.length == 2 && args[0] == "cat") return cat(args[1]);
  if (args.length == 2 && args[0] == "exit") return leave(args[1]);
  process.stdout.write("hello, " + (args.length > 0 ? args.join(" ") : "world") + "\n");
  return 0;
}

const code = main(process.argv.slice(1));
if (code != 0) process.exit(code);
