package org.kernelgateway.jenkins.model;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;

import groovy.json.JsonSlurper;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.Test;

public class RunRequestTest {
    private static Object read(RunRequest request) {
        return new JsonSlurper().parseText(request.toJson());
    }

    @Test
    public void whatIsNotGivenIsLeftOut() {
        RunRequest request = new RunRequest()
                .option("kernel", null)
                .option("name", "")
                .option("require", List.of())
                .option("gpus", 0)
                .option("timeout", null)
                .option("allow-errors", false)
                .parameters(null, List.of());

        assertEquals("{}", request.toJson());
    }

    @Test
    public void everyTextArrivesAsItWasTyped() {
        String odd = "it's \"q\" $HOME ${x} `id` $(id) \\ü\u2028\uD83D\uDE00\r\n\t\u0001";
        for (String text : List.of(odd, "[1]", "null", "{\"a\": 1}", "</script>")) {
            assertEquals(Map.of("code", text), read(new RunRequest().option("code", text)));
        }
    }

    @Test
    public void mapOfParametersKeepsItsTypes() {
        List<Integer> list = Arrays.asList(1, null);
        Map<String, Object> typed = Map.of("n", 20, "rate", 0.5, "on", true, "text", "20", "list", list);

        Map<?, ?> params = (Map<?, ?>) ((Map<?, ?>) read(new RunRequest().parameters(typed, List.of()))).get("params");

        assertEquals(20, params.get("n"));
        assertEquals(true, params.get("on"));
        assertEquals("20", params.get("text"));
        assertEquals(list, params.get("list"));
    }

    @Test
    public void textsOfParametersStayTexts() {
        assertEquals(Map.of("params", List.of("n=20")), read(new RunRequest().parameters(null, List.of("n=20"))));
    }

    @Test
    public void parametersOfBothKindsAreRefused() {
        assertThrows(
                IllegalArgumentException.class, () -> new RunRequest().parameters(Map.of("n", 1), List.of("m=2")));
    }

    @Test
    public void noGatewayMeansTheAgentItself() {
        assertEquals(Map.of("gateway", ""), read(new RunRequest().gateway(null)));
    }
}
