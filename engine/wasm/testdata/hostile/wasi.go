package main

import "unsafe"

// The calls of WASI, preview 1, as they are: an errno comes back, 0 for what was done.

//go:wasmimport wasi_snapshot_preview1 path_open
func pathOpen(dir int32, look uint32, name string, how uint32, rights, inherit uint64, flags uint32, fd *int32) uint32

//go:wasmimport wasi_snapshot_preview1 path_open
func pathOpenAt(dir int32, look uint32, name, size uint32, how uint32, rights, inherit uint64, flags uint32, fd *int32) uint32

//go:wasmimport wasi_snapshot_preview1 path_readlink
func pathReadlink(dir int32, name string, buf unsafe.Pointer, size uint32, n *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_symlink
func pathSymlink(to string, dir int32, name string) uint32

//go:wasmimport wasi_snapshot_preview1 path_link
func pathLink(dir int32, look uint32, name string, to int32, as string) uint32

//go:wasmimport wasi_snapshot_preview1 path_rename
func pathRename(dir int32, name string, to int32, as string) uint32

//go:wasmimport wasi_snapshot_preview1 path_unlink_file
func pathUnlink(dir int32, name string) uint32

//go:wasmimport wasi_snapshot_preview1 path_remove_directory
func pathRmdir(dir int32, name string) uint32

//go:wasmimport wasi_snapshot_preview1 path_create_directory
func pathMkdir(dir int32, name string) uint32

//go:wasmimport wasi_snapshot_preview1 path_filestat_get
func pathStat(dir int32, look uint32, name string, stat *[64]byte) uint32

//go:wasmimport wasi_snapshot_preview1 path_filestat_set_times
func pathTimes(dir int32, look uint32, name string, read, written uint64, how uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_filestat_set_times
func fdTimes(fd int32, read, written uint64, how uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_filestat_set_size
func fdSize(fd int32, size uint64) uint32

//go:wasmimport wasi_snapshot_preview1 fd_filestat_get
func fdStat(fd int32, stat *[64]byte) uint32

//go:wasmimport wasi_snapshot_preview1 fd_allocate
func fdAllocate(fd int32, at, size uint64) uint32

//go:wasmimport wasi_snapshot_preview1 fd_close
func fdClose(fd int32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_renumber
func fdRenumber(from, to int32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_get
func fdPrestat(fd int32, stat *[8]byte) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_dir_name
func fdPrestatName(fd int32, name unsafe.Pointer, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_fdstat_set_flags
func fdFlags(fd int32, flags uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_fdstat_set_rights
func fdRights(fd int32, rights, inherit uint64) uint32

//go:wasmimport wasi_snapshot_preview1 fd_seek
func fdSeek(fd int32, by int64, whence uint32, at uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_read
func fdRead(fd int32, list uint32, count uint32, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_write
func fdWrite(fd int32, list uint32, count uint32, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_pread
func fdPread(fd int32, list uint32, count uint32, at uint64, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_pwrite
func fdPwrite(fd int32, list uint32, count uint32, at uint64, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_readdir
func fdReaddir(fd int32, buf, size uint32, cookie uint64, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 args_get
func argsGet(list, buf uint32) uint32

//go:wasmimport wasi_snapshot_preview1 environ_get
func environGet(list, buf uint32) uint32

//go:wasmimport wasi_snapshot_preview1 clock_time_get
func clockTime(clock uint32, precision uint64, at uint32) uint32

//go:wasmimport wasi_snapshot_preview1 random_get
func randomGet(buf, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 poll_oneoff
func poll(in, out, count, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sched_yield
func yield() uint32

//go:wasmimport wasi_snapshot_preview1 proc_raise
func raise(signal uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_accept
func sockAccept(fd int32, flags uint32, to uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_recv
func sockRecv(fd int32, list, count, flags, n, out uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_send
func sockSend(fd int32, list, count, flags, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_shutdown
func sockShutdown(fd int32, how uint32) uint32

// buffer is one of a list of buffers.
type buffer struct{ at, size uint32 }

// held keeps what calls point to from the stack, which moves.
var held unsafe.Pointer

func where[T any](v *T) uint32 {
	held = unsafe.Pointer(v)
	return uint32(uintptr(held))
}

// bufferOf shows bytes as WASI wants them.
func bufferOf(b []byte) buffer { return buffer{where(&b[0]), uint32(len(b))} }

// The only folder that is open at first, and flags of path_open.
const (
	preopen   = 3
	follow    = 1
	create    = 1
	directory = 2
	truncate  = 8
	all       = 1<<29 - 1       // rights
	reading   = all &^ (1 << 6) // without that to write
	outside   = 0xfffffff0
)
