// Package disk gives a test file systems of its own, in files, that it may fill to the last block or lose power on.
//
// They are loop mounts, which need root and the tools of the file system. Where those are missing a test is skipped, except
// in the long form of the fault suite, which was asked for.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"stasis/integration/promise"
)

// Disk is a mounted file system.
type Disk struct {
	Dir   string // where it is mounted
	image string
}

// New makes a file system ("ext4" or "xfs") of a size such as 400M and mounts it until the test ends.
func New(t testing.TB, kind, size string) *Disk {
	t.Helper()
	return create(t, t.TempDir(), kind, size)
}

// create is New with the image in a folder.
func create(t testing.TB, folder, kind, size string) *Disk {
	t.Helper()
	d := &Disk{Dir: t.TempDir(), image: filepath.Join(folder, kind+".img")}
	run(t, "truncate", "-s", size, d.image)
	switch kind {
	case "xfs":
		run(t, "mkfs.xfs", "-q", "-m", "reflink=1", d.image)
	default:
		run(t, "mkfs."+kind, "-q", d.image)
	}
	d.mount(t)
	return d
}

func (d *Disk) mount(t testing.TB) {
	t.Helper()
	run(t, "mount", "-o", "loop", d.image, d.Dir)
	t.Cleanup(func() {
		if out, err := exec.Command("umount", d.Dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v\n%s", d.Dir, err, out)
		}
	})
}

// Powered is an ext4 disk whose power can be cut: what a cut leaves is what has reached the device, and none of what the
// kernel still holds in memory. The image lies on an xfs, which makes an instant copy of it.
type Powered struct {
	*Disk
	cuts int
}

// NewPowered makes such a disk. room is for it and all its cuts.
func NewPowered(t testing.TB, size, room string) *Powered {
	t.Helper()
	host := New(t, "xfs", room)
	return &Powered{Disk: create(t, host.Dir, "ext4", size)}
}

// Cut copies the device as it is at this instant and hands the copy, mounted after a replay of its journal, to after. The
// disk itself goes on.
func (p *Powered) Cut(t testing.TB, after func(dir string)) {
	t.Helper()
	p.cuts++
	image := fmt.Sprintf("%s.cut%d", p.image, p.cuts)
	run(t, "cp", "--reflink=always", p.image, image)
	dir, err := os.MkdirTemp(t.TempDir(), "cut")
	if err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "loop", image, dir)
	defer os.Remove(image)
	defer func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v\n%s", dir, err, out)
		}
	}()
	after(dir)
}

// Fill writes a file until there is not one block left, and returns its name, to be removed.
func (d *Disk) Fill(t testing.TB) string {
	t.Helper()
	name := filepath.Join(d.Dir, "filler")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := strings.NewReader(strings.Repeat("filler ", 1<<18))
	for _, size := range []int64{1 << 20, 4096, 512} {
		for err = nil; err == nil; {
			_, err = io.Copy(f, io.NewSectionReader(block, 0, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	return name
}

// Require skips the test where file systems cannot be mounted.
func Require(t testing.TB, tools ...string) {
	t.Helper()
	missing := func(format string, args ...any) {
		t.Helper()
		if promise.Full(t) {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	if os.Getuid() != 0 {
		missing("only root can mount the disks that this test fills or cuts off")
	}
	for _, tool := range append(tools, "mount", "umount", "truncate") {
		if _, err := exec.LookPath(tool); err != nil {
			missing("the disks that this test fills or cuts off need %s", tool)
		}
	}
	// Containers have root without the right to mount.
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "none", dir).CombinedOutput(); err != nil {
		missing("nothing can be mounted here: %s", out)
	}
	if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		t.Fatalf("umount: %v\n%s", err, out)
	}
	if devices, _ := filepath.Glob("/dev/loop-control"); len(devices) == 0 {
		missing("there are no loop devices here")
	}
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}
