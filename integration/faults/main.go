// Command faults runs the fault suite and prints what became of each promise of docs/reliability.md.
//
//	go run ./integration/faults          the long form, which takes hours
//	go run ./integration/faults -short   the form that all tests run in
//	go run ./integration/faults F4 F5    some promises
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"stasis/integration/promise"
)

// proof is what shows that a promise is kept: tests of a package.
type proof struct {
	promise string
	pkg     string
	tests   []string
}

var proofs = []proof{
	{"L2", "integration", []string{"TestHitsAreQuickAtAFixedRate"}},
	{"L3", "integration", []string{"TestC40OneUpstreamRequestForManyClients"}},
	{"L5", "integration", []string{"TestMemoryDoesNotGrowWithTheSizeOfArchives", "TestIdleConnectionsCostLittle"}},
	{"L7", "integration", []string{"TestASoakOfMixedLoadWhileFaultsComeAndGo"}},
	{"L8", "integration", []string{"TestAHungUpstreamDoesNotSlowHits"}},
	{"F1", "integration", []string{"TestUpstreamDownInEveryWay"}},
	{"F2", "integration", []string{"TestTransfersCutAnywhereLeaveNothingBehind"}},
	{"F3", "integration", []string{"TestAZipWithoutItsDirectoryIsNeverHandedOut"}},
	{"F4", "integration", []string{"TestAKilledProgramLosesNothingItPromised"}},
	{"F4", "store", []string{"TestAcknowledgedSurvivesKill"}},
	{"F5", "integration", []string{"TestAPowerCutLosesNothingThatWasPromised"}},
	{"F6", "integration", []string{"TestADiskFilledByUs", "TestADiskFilledByOthers"}},
	{"F7", "integration", []string{"TestFlippedBytesAreNeverHandedOut"}},
	{"F7", "store", []string{"TestFlippedBytes"}},
	{"F8", "integration", []string{"TestNobodyIsRefusedDuringARestart", "TestRunningDownloadsFinishBeforeTheEnd"}},
	{"F10", "integration", []string{"TestABackupUnderLoadBringsEverythingBack", "TestDamagedBackupsAreRefused", "TestAKilledRestoreIsTakenUp", "TestMemoryDoesNotGrowWithBackups"}},
	{"F11", "integration", []string{"TestAMovedReferenceRaisesAnAlert", "TestAMovedTagKeepsWhatItFirstStoodFor"}},
	{"F13", "proxy", []string{"TestTheClockJumps"}},
	{"F13", "private/access", []string{"TestAClockThatJumpsGivesNobodyMore"}},
	{"B1", "integration", []string{"TestHostilePathsFindNothing", "TestHostileRequestsDoNotStopTheOthers"}},
	{"B2", "integration", []string{"TestArchivesOnlyComeFromAllowedAddresses"}},
	{"B2", "proxy/upstream", []string{"TestSpecialAddressesAreRefusedHoweverTheyAreReached", "TestANameThatChangesItsAddressIsJudgedAtEveryConnection"}},
	{"B3", "integration", []string{"TestC49PagesAreNotArchives"}},
	{"B3", "proxy/archive", []string{"TestHostileArchivesAreRefused"}},
	{"B4", "integration", []string{"TestC27TroubleUpstreamIsAnsweredFromTheCopy", "TestC28TroubleUpstreamIsNeverAbsence", "TestHostileDocumentsHurtNobody"}},
	{"B4", "proxy/upstream", []string{"TestABombIsRefusedInBoundedMemory"}},
	{"B5", "integration", []string{"TestC52ClientsAreNotSentElsewhere"}},
	{"B5", "proxy/upstream", []string{"TestCredentialsNeverLeaveTheirOrigin", "TestErrorsAndLogsHoldNoSecrets"}},
	{"B6", "api", []string{"TestEveryRouteOfTheManagementAPIIsForAdministratorsOnly"}},
	{"B6", "private/access", []string{"TestWhatATokenSees", "TestWhatATokenMayTouch"}},
	{"B7", "private/webhook", []string{"TestPublishedVectors", "TestEverySchemeGivesTheExactVerdict", "TestTheSenderCannotChooseAWeakerScheme"}},
	{"B7", "private/hooks", []string{"TestARepeatedDeliveryDoesNothingForADay"}},
	{"B7", "api", []string{"TestDeliveriesThatAreNotVerifiedDoNothing", "TestGuessesOfSecretsAreSlowed"}},
	{"B8", "private/git", []string{"TestHostileAddressesRunNothing", "TestHostileRepositoriesRunNothing", "TestHostileTreesAreRefused"}},
	{"B9", "private/access", []string{"TestAHundredThousandWrongTokensAreSlowed", "TestTheTimeOfARefusalDoesNotTellHowNearAGuessWas"}},
	{"B11", "integration", []string{"TestSlowHeadersHoldNobodyUp"}},
	{"B11", "cmd/stasis", []string{"TestAClientThatTakesNothingIsCutOff"}},
}

func main() {
	short := flag.Bool("short", false, "run the shortened form")
	flag.Parse()
	if err := run(*short, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(short bool, only []string) error {
	form := "full"
	if short {
		form = "short"
	}
	dir, err := os.MkdirTemp("", "stasis-faults-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	results := filepath.Join(dir, "results")
	var failed, ran []string
	for _, p := range proofs {
		if len(only) > 0 && !slices.Contains(only, p.promise) {
			continue
		}
		ran = append(ran, p.promise)
		cmd := exec.Command("go", "test", "-count=1", "-timeout=12h", "-run", "^("+strings.Join(p.tests, "|")+")$", "./"+p.pkg)
		cmd.Env = append(os.Environ(), "STASIS_FAULTS="+form, "STASIS_FAULTS_RESULTS="+results)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			failed = append(failed, p.promise)
		}
	}
	if len(ran) == 0 {
		return fmt.Errorf("there is no promise of these names: %s", strings.Join(only, " "))
	}
	reports, err := read(results)
	if err != nil {
		return err
	}
	table(reports)
	if len(failed) > 0 {
		return fmt.Errorf("not kept: %s", strings.Join(failed, " "))
	}
	return nil
}

// read returns the reports that the tests left; none when no test reports.
func read(name string) ([]promise.Report, error) {
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []promise.Report
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r promise.Report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("a report of a test: %w", err)
		}
		out = append(out, r)
	}
	return out, nil
}

func table(reports []promise.Report) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nPROMISE\tKEPT\tWHAT WAS DONE\tROUNDS\tLOST\tCLIENTS SEE\tALERT\tMETRIC\tMEASURED")
	for _, r := range reports {
		kept := "yes"
		if r.Failed {
			kept = "NO"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", r.Promise, kept, r.Did, r.Rounds, r.Lost, r.Seen, r.Alert, r.Metric, r.Figure)
	}
	w.Flush() //nolint:errcheck // there is nobody left to tell
}
