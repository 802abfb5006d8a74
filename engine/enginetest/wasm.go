package enginetest

import "github.com/hpips/hpips/engine"

// WASM are the cases for the engine that runs WASI programs. Most are acts of one program; those of the classes "instructions" and "modules" are programs of their own.
func WASM() []Case {
	return table(
		rows("escape by names", nil, "climb from /in", "climb from /out", "climb from the root", "climb from a folder", "the canary", "absolute below a folder", "links of its inputs", "links with a slash behind", "links that are not followed",
			"what links say", "/proc", "/dev", "/etc", "/sys", "/home", "its neighbours", "zeros in names", "names that are no text", "the other slash", "a name of 64 KiB", "no name", "many slashes", "many dots",
			"a link out", "a hard link", "a hard link to an input", "rename out", "rename an input", "rename into an input", "remove an input", "times of an input", "write an input", "cut an input", "a folder in an input", "open a folder for writing", "below a removed folder"),
		rows("descriptors", nil, "open files", "preopens", "move the preopen", "move a file over another", "close all", "close twice", "descriptors that are none", "many files", "more rights", "other flags", "read far", "write its input", "read its output",
			"folders as files", "lists from the midst", "sockets"),
		rows("descriptors", []engine.End{engine.DiskFull, engine.Exited}, "seek far", "write far", "room", "sparse"),
		rows("pointers", nil, "buffers out of memory", "too many buffers", "a buffer too long", "results out of memory", "arguments out of memory", "names out of memory", "polls out of memory", "polls of nothing", "lists out of memory", "random bytes out of memory"),
		rows("pointers", []engine.End{engine.Exited, engine.Trapped}, "too many polls"),
		rows("time", []engine.End{engine.Exited, engine.TimedOut}, "sleep for ever"),
		rows("time", nil, "a clock that is none", "the host's clock", "poll its input"),
		rows("time", timed, "spin", "poll without end", "yield without end", "look at the clock without end", "random bytes without end", "look at files without end", "write nothing without end", "rename without end"),
		rows("memory", []engine.End{engine.MemoryFull, engine.TimedOut}, "heap", "stack", "many small"),
		rows("output", output, "endless output", "endless complaints", "both", "one call of many buffers"),
		rows("output", []engine.End{engine.OutputFull, engine.TimedOut}, "byte by byte"),
		rows("disk", disk, "fill /out", "fill /tmp", "hidden", "again and again"),
		rows("inodes", []engine.End{engine.DiskFull, engine.TimedOut}, "files without end", "folders without end"),
		rows("names", some, "deep folders", "long names", "exit with strange codes"),
		rows("names", nil, "strange names", "raise signals"),
		rows("instructions", trap, "unreachable", "divide by zero", "out of bounds", "no function", "another function", "recursion", "recursion of two", "recursion through a table", "tables without end"),
		rows("instructions", memory, "pages without end"),
		rows("instructions", timed, "loop", "fill memory without end", "copy memory without end", "call without end", "before it starts"),
		rows("modules", []engine.End{Refused}, "no module", "half a module", "claims too much", "foreign imports", "mistyped imports", "too much memory at once"),
		rows("modules", []engine.End{Refused, engine.Exited, engine.Trapped, engine.TimedOut, engine.MemoryFull}, "one huge function", "many functions", "many locals", "deep blocks", "a wide table of branches", "many types", "a large custom section", "data out of bounds"),
	)
}
