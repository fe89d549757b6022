package api

// What tests look at from outside.
var (
	ParsePHC    = parsePHC
	RouteClass  = routeClass
	CacheResult = cacheResult
	Loggable    = loggable
)

const LogBuffer = logBuffer
