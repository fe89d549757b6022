package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stasis/api"
	"stasis/config"
	"stasis/store/backup"
)

// keeping is how backups are kept in a folder.
type keeping struct {
	folder, archives, fullEvery string
	keep                        int
}

// unfinished is what files are called while they are being written.
const unfinished = ".unfinished-"

// keepBackup adds a backup to a folder: what changed since the newest one there, or a full one when there is none, when it is
// old, or when the server cannot continue the newest. A file appears under its name when it is whole and on the disk.
func (p *program) keepBackup(ctx context.Context, c *client, k keeping) error {
	age, err := config.ParseDuration(k.fullEvery)
	if err != nil {
		return usageError("--full-every: %v", err)
	}
	if k.keep < 0 {
		return usageError("--keep is %d, and must not be negative", k.keep)
	}
	if err := os.MkdirAll(k.folder, 0o700); err != nil {
		return err
	}
	files, err := backup.ReadFolder(k.folder)
	if err != nil {
		fmt.Fprintln(p.stderr, "passed over:", printable(err.Error()))
	}
	since := ""
	if chain := backup.Newest(files); len(chain) > 0 && time.Since(chain[0].Header.TakenAt) < age {
		since = chain[len(chain)-1].Header.ID
	}
	taken, err := p.addBackup(ctx, c, k, since)
	var refused *refusedError
	if since != "" && errors.As(err, &refused) && refused.code == string(api.CodeValidation) {
		fmt.Fprintln(p.stderr, "making a full backup:", printable(refused.message))
		taken, err = p.addBackup(ctx, c, k, "")
	}
	if err != nil {
		return err
	}
	if k.keep > 0 && taken.Backup.Full() {
		for _, old := range backup.Expired(append(files, backup.File{Path: taken.File, Header: taken.Backup}), k.keep) {
			if err := os.Remove(old.Path); err != nil {
				return err
			}
		}
	}
	return p.showBackup(p.stdout, taken)
}

func (p *program) addBackup(ctx context.Context, c *client, k keeping, since string) (taken takenBackup, err error) {
	sweepUnfinished(k.folder)
	file, err := os.CreateTemp(k.folder, unfinished)
	if err != nil {
		return taken, err
	}
	defer func() {
		if file.Close(); err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if taken, err = p.takeBackup(ctx, c, since, k.archives, file); err != nil {
		return taken, err
	}
	if err = file.Sync(); err != nil {
		return taken, err
	}
	taken.File = filepath.Join(k.folder, backup.FileName(taken.Backup))
	if err = os.Rename(file.Name(), taken.File); err != nil {
		return taken, err
	}
	return taken, syncFolder(k.folder)
}

// sweepUnfinished removes what killed commands left. Others may be at work in the same folder.
func sweepUnfinished(folder string) {
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), unfinished) && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}

// syncFolder makes the name of a new file durable, where folders can be synced.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, os.ErrPermission) {
		return err
	}
	return nil
}
