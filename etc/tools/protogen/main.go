// Command protogen writes the Go code of the chain's messages. It compiles every proto/hpips/**/*.proto, imports of other
// projects being read from the versions of the modules that the house is built with, and hands the result to the
// generators that the Cosmos SDK uses for its own messages. It promises the same bytes for the same sources, and needs
// no network once those modules are on the machine. What the messages say is left to proto/hpips; what the code looks
// like, to the generators.
package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

// home is what every go_package of ours begins with.
const home = "github.com/hpips/hpips/proto/gen/"

// shelves are the folders of modules in which imported protos lie.
var shelves = []struct{ module, folder string }{
	{"github.com/cosmos/cosmos-sdk", "proto"},
	{"github.com/cosmos/gogoproto", "."},
	{"github.com/cosmos/gogoproto", "protobuf"},
	{"github.com/cosmos/cosmos-proto", "proto"},
	{"github.com/grpc-ecosystem/grpc-gateway", "third_party/googleapis"},
}

// generators are tools of this module and what each is told, as in the SDK's proto/buf.gen.gogo.yaml.
var generators = []struct{ tool, told string }{
	{"protoc-gen-gocosmos", "plugins=grpc,Mgoogle/protobuf/any.proto=github.com/cosmos/gogoproto/types/any"},
	{"protoc-gen-grpc-gateway", "logtostderr=true,allow_colon_final_segments=true"},
}

func main() {
	root := flag.String("root", filepath.FromSlash("../.."), "the `folder` of the house")
	out := flag.String("out", "", "the `folder` to write to; proto/gen of the house if empty")
	flag.Parse()
	if err := generate(context.Background(), *root, cmp.Or(*out, filepath.Join(*root, "proto", "gen"))); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

// generate writes nothing unless all of it could be made.
func generate(ctx context.Context, root, out string) error {
	files, err := compile(ctx, root)
	if err != nil {
		return err
	}
	written := map[string]string{}
	for _, group := range folders(files) {
		for _, g := range generators {
			if err := run(ctx, g.tool, g.told, group, written); err != nil {
				return fmt.Errorf("%s on %s: %w", g.tool, path.Dir(group[0].Path()), err)
			}
		}
	}
	old, err := filepath.Glob(filepath.Join(out, "*", "*.pb*.go"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	for name, text := range written {
		to := filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compile parses and links the protos of the house, comments kept.
func compile(ctx context.Context, root string) (linker.Files, error) {
	ours := filepath.Join(root, "proto")
	var names []string
	err := fs.WalkDir(os.DirFS(ours), "hpips", func(p string, _ fs.DirEntry, err error) error {
		if path.Ext(p) == ".proto" {
			names = append(names, p)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	paths := []string{ours}
	for _, s := range shelves {
		list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", s.module)
		list.Dir, list.Stderr = root, os.Stderr
		dir, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("go list -m %s: %w", s.module, err)
		}
		if len(bytes.TrimSpace(dir)) == 0 {
			return nil, fmt.Errorf("%s is not on this machine: go mod download %s", s.module, s.module)
		}
		paths = append(paths, filepath.Join(string(bytes.TrimSpace(dir)), filepath.FromSlash(s.folder)))
	}
	c := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: paths},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	return c.Compile(ctx, names...)
}

// folders puts files of one folder, and so of one Go package, together: a generator takes one package at a time.
func folders(files linker.Files) []linker.Files {
	var groups []linker.Files
	for _, f := range files { // in the order of their paths, as fs.WalkDir found them
		if n := len(groups); n > 0 && path.Dir(groups[n-1][0].Path()) == path.Dir(f.Path()) {
			groups[n-1] = append(groups[n-1], f)
		} else {
			groups = append(groups, linker.Files{f})
		}
	}
	return groups
}

// run hands one package to a generator and adds what it says to written, by the path below home.
func run(ctx context.Context, tool, told string, files linker.Files, written map[string]string) error {
	request := &pluginpb.CodeGeneratorRequest{Parameter: &told}
	var seen []string
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) { // what a file imports stands before it
		if slices.Contains(seen, f.Path()) {
			return
		}
		seen = append(seen, f.Path())
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range files {
		add(f)
		request.FileToGenerate = append(request.FileToGenerate, f.Path())
	}
	in, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", tool)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	said, err := cmd.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(said, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, f := range response.File {
		name, ok := strings.CutPrefix(f.GetName(), home)
		if !ok || !filepath.IsLocal(filepath.FromSlash(name)) {
			return fmt.Errorf("%s: go_package has to begin with %s", f.GetName(), home)
		}
		written[name] = f.GetContent()
	}
	return nil
}
