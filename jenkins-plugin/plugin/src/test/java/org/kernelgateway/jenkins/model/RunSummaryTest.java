package org.kernelgateway.jenkins.model;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.util.List;
import java.util.Map;
import org.junit.Test;

public class RunSummaryTest {
    private static final String RUN = String.join(
            "\n",
            "{'id': '1', 'name': 'train', 'status': 'unstable', 'reason': '[r]', 'seconds': 3.5,",
            " 'kernel': 'python3', 'agent': null, 'git': {'commit': 'a6'}, 'build': {'tag': 'jenkins-train-3'},",
            " 'gates': [",
            "  {'expression': 'recall >= 0.9', 'value': 0.5, 'bound': 0.9, 'passed': false, 'message': ''},",
            "  {'expression': 'f1 > baseline', 'value': null, 'bound': null, 'passed': null, 'message': 'none'}],",
            " 'metrics': {'loss': {'count': 2, 'last': 1e-7}, 'recall': {'last': 0.5}, 'odd': {'last': 'NaN'}}}")
            .replace('\'', '"');

    @Test
    public void whatTheBuildShowsIsRead() {
        RunSummary run = RunSummary.parse(RUN);

        assertEquals("unstable", run.getStatus());
        assertEquals("[r]", run.getReason());
        assertEquals("", run.getAgent());
        assertEquals("a6", run.getCommit());
        assertEquals("jenkins-train-3", run.getBuildTag());
        assertEquals(Map.of("loss", 1e-7, "recall", 0.5), run.getMetrics());
    }

    @Test
    public void gateThatWasNotJudgedIsNeitherMetNorMissed() {
        List<Gate> gates = RunSummary.parse(RUN).getGates();

        assertEquals(false, gates.get(0).getPassed());
        assertNull(gates.get(1).getPassed());
        assertNull(gates.get(1).getBound());
    }

    @Test
    public void headlineBeginsWithWhatGatesAreAbout() {
        assertEquals("recall 0.5, loss 1e-7", RunSummary.parse(RUN).headline(6));
        assertEquals("recall 0.5", RunSummary.parse(RUN).headline(1));
    }

    @Test
    public void whatIsNoRecordOfARunIsRefusedInASentence() {
        for (String text : List.of("", "[]", "{", "{\"status\": \"\"}", "<html>")) {
            IllegalArgumentException problem =
                    assertThrows(IllegalArgumentException.class, () -> RunSummary.parse(text));
            assertTrue(problem.getMessage(), problem.getMessage().startsWith("run.json"));
        }
    }
}
