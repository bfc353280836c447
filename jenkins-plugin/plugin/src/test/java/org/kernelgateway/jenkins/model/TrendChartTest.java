package org.kernelgateway.jenkins.model;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.Test;
import org.kernelgateway.jenkins.model.TrendChart.Point;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

public class TrendChartTest {
    private static Document parse(String svg) throws Exception {
        return DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(new ByteArrayInputStream(svg.getBytes(StandardCharsets.UTF_8)));
    }

    private static List<String> texts(Document svg, String anchor) {
        List<String> texts = new ArrayList<>();
        for (int index = 0; index < svg.getElementsByTagName("text").getLength(); index++) {
            Element text = (Element) svg.getElementsByTagName("text").item(index);
            if (text.getAttribute("text-anchor").equals(anchor)) {
                texts.add(text.getTextContent());
            }
        }
        return texts;
    }

    private static double number(Document svg, String tag, int index, String attribute) {
        return Double.parseDouble(((Element) svg.getElementsByTagName(tag).item(index)).getAttribute(attribute));
    }

    @Test
    public void higherValuesLieHigherAndLaterBuildsFurtherRight() throws Exception {
        Document svg = parse(new TrendChart(
                        List.of(
                                new Point(1, 0.5, "failed", "1/"),
                                new Point(3, 0.9, "succeeded", "3/"),
                                new Point(7, 0.7, "unstable", "7/")),
                        400,
                        200)
                .svg("accuracy"));

        assertEquals(3, svg.getElementsByTagName("circle").getLength());
        assertTrue(number(svg, "circle", 1, "cy") < number(svg, "circle", 2, "cy"));
        assertTrue(number(svg, "circle", 2, "cy") < number(svg, "circle", 0, "cy"));
        assertTrue(number(svg, "circle", 0, "cx") < number(svg, "circle", 1, "cx"));
        Element last = (Element) svg.getElementsByTagName("circle").item(2);
        assertEquals("kg-dot kg-unstable", last.getAttribute("class"));
        assertEquals("3/", ((Element) svg.getElementsByTagName("a").item(1)).getAttribute("href"));
    }

    @Test
    public void textsOfUsersStayTexts() throws Exception {
        String evil = "\"><script>alert('1')</script>&";
        Document svg = parse(new TrendChart(List.of(new Point(1, 1, evil, "x\"><script>")), 400, 200).svg(evil));

        assertEquals(0, svg.getElementsByTagName("script").getLength());
        assertEquals(evil, svg.getElementsByTagName("title").item(0).getTextContent());
        assertEquals("x\"><script>", ((Element) svg.getElementsByTagName("a").item(0)).getAttribute("href"));
    }

    @Test
    public void noneOneEqualAndHugeValuesAreDrawnWithinThePicture() throws Exception {
        Locale before = Locale.getDefault();
        Locale.setDefault(Locale.FRANCE);
        try {
            for (double[] values : new double[][] {{}, {5}, {2, 2, 2}, {0, 0}, {-1e300, 1e300}, {1e-300, 2e-300}}) {
                List<Point> points = new ArrayList<>();
                for (double value : values) {
                    points.add(new Point(points.size() + 1, value, "succeeded", null));
                }
                Document svg = parse(new TrendChart(points, 400, 200).svg("m"));
                for (int index = 0; index < values.length; index++) {
                    double y = number(svg, "circle", index, "cy");
                    assertTrue("y " + y, y >= 0 && y <= 200);
                }
            }
        } finally {
            Locale.setDefault(before);
        }
    }

    @Test
    public void axisHasFewShortNumbersAndNoneBelowZeroForValuesAbove() throws Exception {
        Document svg = parse(new TrendChart(
                        List.of(new Point(1, 1.2, "failed", null), new Point(2, 0.06, "failed", null)), 400, 200)
                .svg("loss"));

        assertEquals(List.of("0", "0.5", "1"), texts(svg, "end"));
    }

    @Test
    public void hundredBuildsHaveRoomForTheirLabels() throws Exception {
        List<Point> points = new ArrayList<>();
        for (int build = 1; build <= 100; build++) {
            points.add(new Point(build, build, "succeeded", null));
        }
        Document svg = parse(new TrendChart(points, 400, 200).svg("m"));

        List<String> labels = texts(svg, "middle");
        assertTrue(labels.toString(), labels.size() <= 400 / 40);
        assertEquals("#100", labels.get(0));
    }
}
