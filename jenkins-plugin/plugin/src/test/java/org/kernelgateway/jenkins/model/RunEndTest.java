package org.kernelgateway.jenkins.model;

import static org.junit.Assert.assertEquals;

import org.junit.Test;
import org.kernelgateway.jenkins.model.RunEnd.Verdict;

public class RunEndTest {
    @Test
    public void everyDocumentedExitCodeHasItsVerdict() {
        assertEquals(Verdict.SUCCESS, RunEnd.of(0).verdict(false));
        assertEquals(Verdict.UNSTABLE, RunEnd.of(3).verdict(false));
        assertEquals(Verdict.ABORTED, RunEnd.of(130).verdict(false));
        for (int code : new int[] {1, 2, 4, 5, 6}) {
            assertEquals(code, RunEnd.of(code).ordinal());
            assertEquals(Verdict.FAILURE, RunEnd.of(code).verdict(false));
        }
    }

    @Test
    public void missedGateFailsTheBuildWhereTheStepSaysSo() {
        assertEquals(Verdict.FAILURE, RunEnd.of(3).verdict(true));
        assertEquals(Verdict.SUCCESS, RunEnd.of(0).verdict(true));
    }

    @Test
    public void unknownExitCodeIsAFailureOfItsOwn() {
        for (int code : new int[] {-1, 127, 137, 143}) {
            assertEquals(RunEnd.OTHER, RunEnd.of(code));
            assertEquals(Verdict.FAILURE, RunEnd.of(code).verdict(false));
        }
    }
}
