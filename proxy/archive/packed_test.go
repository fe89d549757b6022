package archive_test

import "encoding/base64"

// One tar, packed by the bzip2 and xz tools: README.md, an executable bin/run
// and a link to it, below one folder.
var (
	bz2Tar = unbase64("QlpoOTFBWSZTWQ9hTW4AAK9/gMuQEABoA/eAJgeQIH5nHgAIiCAAkgkopp5Q9QA0aNNDTygZNqCKkID1AA9Jo0DQaAfulvuGcKHC" +
		"QRZrqCkib0ykRGmnMF5wKJAHx2nDYfSdteNZVDU1EXJBWLAV5WWUK3zgsHHRjTc3NSQMXCqx8Bj27LYyokwkxRnXFX3g/Sy5fgdg" +
		"8LU6qtXYKZoWdPUqFAKPpMnShB/F3JFOFCQD2FNbgA==")
	xzTar = unbase64("/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4Cf/AKddADCYyf36bc3sRDA4hXFjbl5AJXSDsa7O7TPo7NsQCgeH9TzzK/8nHa/sfSn/" +
		"YWrnPzYMiizLO4m7QCUgoh/YAngY+jgZxmYemgHA1g88u9fAUoChno2KMobH7Wfg1Ua7I0bYE60hBPDrGuhPWHgtCSsoL6ocwQ1c" +
		"R2vs6K0NWo1DqMAxUSOQp5laVWPLRFxakIy8zz2TqjWiYvtlFgOCK9aIDap1fhavAABrNaA4x9wbWAABwwGAUAAA/Ams6LHEZ/sC" +
		"AAAAAARZWg==")
)

func unbase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
