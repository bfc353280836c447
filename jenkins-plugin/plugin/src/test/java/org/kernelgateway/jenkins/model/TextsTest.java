package org.kernelgateway.jenkins.model;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNotNull;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.Test;

public class TextsTest {
    @Test
    public void linesOfAFormAreEntriesWhateverTheirEnds() {
        assertEquals(List.of("a >= 1", "b"), TextLines.split(List.of(" a >= 1 \r\n\n b\n")));
    }

    @Test
    public void parametersAreNamesAndAllBehindTheFirstEqualsSign() {
        assertEquals(
                Map.of("a", "1", "q", "it's = \"x\" $y"),
                TextLines.parameters("# comment\na = 1\nq=it's = \"x\" $y\n"));
        assertThrows(IllegalArgumentException.class, () -> TextLines.parameters("a"));
        assertThrows(IllegalArgumentException.class, () -> TextLines.parameters("=1"));
        assertThrows(IllegalArgumentException.class, () -> TextLines.parameters("a=1\na=2"));
    }

    @Test
    public void secretsAreVariablesWithOrWithoutACredential() {
        assertEquals(Map.of("DB", "warehouse", "TOKEN", ""), TextLines.secrets(List.of("DB=warehouse", "TOKEN")));
        assertThrows(IllegalArgumentException.class, () -> TextLines.secrets(List.of("no name")));
        assertThrows(IllegalArgumentException.class, () -> TextLines.secrets(List.of("LD;X=1")));
    }

    @Test
    public void pathsThatLeaveTheWorkspaceAreRefused() {
        for (String path : List.of("/etc", "..", "a/../../b", "C:\\x", "a\\..\\b", "\\x")) {
            assertNotNull(path, Paths.problem(path));
        }
        assertNull(Paths.problem("kernel-runs/*"));
        for (String path : List.of("a*", "a,b", ".", "./", "a\\b", "a\nb", "")) {
            assertNotNull(path, Paths.folderProblem(path));
        }
        assertNull(Paths.folderProblem("kernel-runs/a..b c"));
    }

    @Test
    public void runsAreNamedAsTheCommandNamesThem() {
        assertEquals("train", Paths.nameOf("jobs/train.ipynb"));
        assertEquals(".hidden", Paths.nameOf(".hidden"));
        assertEquals("gate-drift", Paths.nameOf("gate:drift"));
        assertEquals("snippet", Paths.nameOf(null));
    }

    @Test
    public void foldersOfRunsHoldNothingThatAPatternMisreads() {
        assertEquals("a_b_c", Paths.folderOf("a*b,c"));
        assertEquals("run", Paths.folderOf(".."));
        assertEquals(150, Paths.folderOf("x".repeat(500)).length());
    }

    @Test
    public void numbersAreShortAndTheSameInEveryLocale() {
        Locale before = Locale.getDefault();
        Locale.setDefault(Locale.GERMANY);
        try {
            assertEquals("0.9778", Numbers.shortText(0.9777777));
            assertEquals("0", Numbers.shortText(-0.0));
            assertEquals("1234", Numbers.shortText(1234.4));
            assertEquals("123456", Numbers.shortText(123456.4));
            assertEquals("1.235e-7", Numbers.shortText(1.2345e-7));
            assertEquals("-2.5e12", Numbers.shortText(-2.5e12));
            assertEquals("", Numbers.shortText(null));
            assertEquals("0.4 s", Numbers.duration(0.42));
            assertEquals("3 min 5 s", Numbers.duration(185.0));
            assertEquals("2 h 10 min", Numbers.duration(7800.0));
        } finally {
            Locale.setDefault(before);
        }
    }
}
