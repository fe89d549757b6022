package api

// What tests look at from outside.
var (
	RouteClass  = routeClass
	CacheResult = cacheResult
	Loggable    = loggable
)

const LogBuffer = logBuffer
