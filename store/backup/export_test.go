package backup

import "io"

// WriteFrames writes a stream of frames with right checksums, whatever is in
// them.
func WriteFrames(w io.Writer, frames func(frame func(kind byte, body []byte) error) error) error {
	f, err := newFrameWriter(w)
	if err != nil {
		return err
	}
	return frames(f.frame)
}
